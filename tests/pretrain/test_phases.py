"""What a phase does not train it does not touch."""

import dataclasses

import pytest
import torch

from hanlm.errors import ConfigError
from pretrain.config import Phase
from pretrain.train import pretrain

NUM_BASE = 300
VOCAB = ("model.embed_tokens.weight", "lm_head.weight")


def assert_only_new_rows_changed(before, after):
    assert set(before) == set(after)
    for name, tensor in before.items():
        if name in VOCAB:
            assert torch.equal(tensor[:NUM_BASE], after[name][:NUM_BASE]), name
            assert not torch.equal(tensor[NUM_BASE:], after[name][NUM_BASE:]), name
        else:
            assert torch.equal(tensor, after[name]), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_phase_of_new_rows_leaves_every_other_weight_bit_identical(settings, extended_model, read_weights, precision):
    phases = (Phase(trainable="new_rows", lr=0.05, steps=5),)
    out = pretrain(settings(phases=phases, precision=precision))
    assert_only_new_rows_changed(read_weights(extended_model), read_weights(out))


def test_the_phase_after_it_trains_everything_and_begins_where_it_ended(
    settings, extended_model, read_weights, read_losses
):
    out = pretrain(settings(steps=3, new_rows_steps=3, new_rows_lr=0.05, snapshot_every=3))
    assert [p.name for p in out.with_name("out.snapshots").iterdir()] == ["step-3"]
    snapshot = out.with_name("out.snapshots") / "step-3"
    assert_only_new_rows_changed(read_weights(extended_model), read_weights(snapshot))
    first, last = read_weights(snapshot), read_weights(out)
    assert all(not torch.equal(first[name], last[name]) for name in first)
    assert len(read_losses(out)) == 6


def test_frozen_weights_are_kept_exactly_in_bf16_after_they_were_trained(settings, read_weights):
    """The fp32 masters of weights that a later phase freezes are neither rounded nor taken from the base."""
    train = Phase(lr=0.01, steps=2)
    both = settings(phases=(train, Phase(trainable="new_rows", lr=0.05, steps=2)), precision="bf16")
    out = pretrain(dataclasses.replace(both, snapshot_every=2))
    middle = read_weights(out.with_name("out.snapshots") / "step-2")
    assert_only_new_rows_changed(middle, read_weights(out))


def test_the_phase_is_left_out_where_there_are_no_new_rows(settings, tiny_model_folder, read_losses):
    out = pretrain(settings(model=tiny_model_folder, steps=2, new_rows_steps=3))
    assert len(read_losses(out)) == 2
    only_new = (Phase(trainable="new_rows", steps=2),)
    with pytest.raises(ConfigError, match="no new tokens"):
        pretrain(settings("other", model=tiny_model_folder, phases=only_new))


@pytest.mark.slow
def test_old_rows_are_frozen_on_every_tensor_parallel_rank(settings, extended_model, read_weights, tmp_path):
    """300 of 320 rows are old: rank 0 of 2 holds old rows only, rank 1 both."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    recipe = tmp_path / "run.yaml"
    config = settings()
    recipe.write_text(
        f"model: {config.model}\ntokens: [{config.tokens[0]}]\nout: {config.out}\ntensor_parallel: 2\n"
        "seq_length: 32\nglobal_batch_size: 4\nmicro_batch_size: 2\nprecision: fp32\neval_tokens: 0\n"
        "phases:\n- {trainable: new_rows, lr: 0.05, steps: 5}\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, "-m", "hanlm", "pretrain", "--config", str(recipe)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        check=True,
        timeout=300,
    )
    assert_only_new_rows_changed(read_weights(extended_model), read_weights(config.out))
