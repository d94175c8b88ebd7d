"""New rows train as parameters of their own: at every layout as in one process, and nothing is kept for old rows."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain.config import Phase, PretrainConfig
from pretrain.train import pretrain

NUM_BASE = 300
ROWS = Phase(trainable="new_rows", lr=0.05, steps=4)
TABLES = ("model.embed_tokens.weight", "lm_head.weight")


def assert_only_new_rows_changed(base: Path, trained: Path) -> None:
    before, after = (load_file(path / "model.safetensors") for path in (base, trained))
    for name, tensor in before.items():
        kept = tensor[:NUM_BASE] if name in TABLES else tensor
        assert torch.equal(kept, after[name][: len(kept)]), name
        assert name not in TABLES or (tensor[NUM_BASE:] != after[name][NUM_BASE:]).any(), name


def checkpointed(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """Return the sizes of all tensors of a checkpoint."""
    from torch.distributed.checkpoint import FileSystemReader

    entries = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    return {name: tuple(entry.size) for name, entry in entries.items() if hasattr(entry, "size")}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_optimizer_state_is_kept_for_old_rows(settings, extended_model, precision):
    config = settings(phases=(ROWS, Phase(steps=1)), precision=precision, save_every=3)
    out = pretrain(config)
    sizes = checkpointed(out.with_name("out.work") / "checkpoints" / "step-0000003")
    moments = {name: size for name, size in sizes.items() if "exp_avg" in name}
    num_new = json.loads((extended_model / "config.json").read_text())["vocab_size"] - NUM_BASE
    assert len(moments) == 4  # two moments of two tables
    assert {size[0] for size in moments.values()} == {num_new}


def test_embeddings_and_output_layer_train_whole_and_nothing_else_does(settings, extended_model, read_weights):
    out = pretrain(settings(phases=(Phase(trainable="embeddings", lr=0.01, steps=3),)))
    before, after = read_weights(extended_model), read_weights(out)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == (name not in TABLES), name
    assert (before["lm_head.weight"][:NUM_BASE] != after["lm_head.weight"][:NUM_BASE]).any()


LAYOUTS = {
    "TP2": {"tensor_parallel": 2},
    "TP2+SP": {"tensor_parallel": 2, "sequence_parallel": True},
    "PP2": {"pipeline_parallel": 2},
    "PP2 tied": {"pipeline_parallel": 2},
    "DP2": {},
}


@pytest.mark.slow
def test_at_every_layout_new_rows_learn_as_in_one_process_and_the_rest_stays(
    settings, extended_model, tied_model, read_weights, read_losses, run_all
):
    """Rank 0 of two tensor-parallel ranks holds old rows alone, 300 of 320 being old; rank 1 both."""
    models = {name: tied_model if "tied" in name else extended_model for name in LAYOUTS}
    configs = {
        name: settings(name.replace(" ", "-"), model=models[name], phases=(ROWS,), **flags)
        for name, flags in LAYOUTS.items()
    }
    run_all(list(configs.values()), processes=2)
    expected = {m: pretrain(settings(f"one-{m.parent.name}", model=m, phases=(ROWS,))) for m in set(models.values())}
    for name, config in configs.items():
        assert_only_new_rows_changed(models[name], config.out)
        one = expected[models[name]]
        assert list(read_losses(config.out).values()) == pytest.approx(list(read_losses(one).values()), abs=2e-4), name
        for weight, tensor in read_weights(config.out).items():
            torch.testing.assert_close(tensor, read_weights(one)[weight], atol=2e-3, rtol=0, msg=f"{name}: {weight}")


@pytest.mark.slow
def test_a_phase_of_new_rows_goes_on_at_another_layout(settings, read_losses, run_all):
    """Two ranks hold 0 and 20 of the new rows, one rank all: what each keeps of the optimizer is cut anew."""
    long = (Phase(trainable="new_rows", lr=0.05, steps=8),)
    whole = read_losses(pretrain(settings("whole", phases=long)))
    two: PretrainConfig = settings("moved", phases=long, tensor_parallel=2, save_every=4, keep_checkpoints=9)
    run_all([two], processes=2)
    shutil.rmtree(two.out)
    (two.out.with_name("moved.work") / "published").unlink()
    pretrain(dataclasses.replace(two, tensor_parallel=1, resume_step=4))
    got = read_losses(two.out)
    assert list(got.values()) == pytest.approx(list(whole.values()), abs=2e-4)
