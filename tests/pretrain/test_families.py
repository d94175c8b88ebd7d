"""Every family gives on Megatron-Core what it gives in transformers, and comes back bit by bit, at every layout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from by_hand import train_by_hand
from family_bases import BASES, make_base
from family_parity import (
    LR,
    STEPS,
    batches,
    build_engine,
    losses_of,
    require_parity,
    require_round_trip,
    transformers_outcome,
)

from pretrain.config import Phase
from pretrain.families import read_shape
from pretrain.layout import Layout
from pretrain.parallel import parallel
from pretrain.train import pretrain

BF16 = ("llama3", "qwen2", "gemma")


@pytest.mark.parametrize("name", BASES)
def test_a_family_has_the_logits_and_losses_of_transformers_and_comes_back_bit_by_bit(tmp_path, name):
    expected = transformers_outcome(make_base(tmp_path / "base", name))
    with parallel(Layout(), seed=0) as place:
        require_parity(tmp_path / "base", expected, place, tmp_path / "work")


@pytest.mark.parametrize("name", BF16)
def test_a_base_in_bf16_comes_back_bit_by_bit_from_a_run_in_bf16(tmp_path, name):
    make_base(tmp_path / "base", name, dtype=torch.bfloat16)
    with parallel(Layout(), seed=0) as place:
        engine = build_engine(tmp_path / "base", read_shape(tmp_path / "base"), place, torch.bfloat16)
        require_round_trip(engine, tmp_path / "base", tmp_path / "work")


@pytest.mark.parametrize("name", ["qwen3", "gemma"])
def test_a_model_published_by_the_command_is_one_that_transformers_loads_whole(
    settings, tiny_tokenizer_folder, tmp_path, read_losses, name
):
    """From a folder with a tokenizer, with rows of new tokens first, to the folder that every other tool reads."""
    from transformers import AutoModelForCausalLM

    base = tmp_path / "base"
    shutil.copytree(tiny_tokenizer_folder, base)
    before = make_base(base, name)
    (base / "vocab_report.json").write_text('{"num_base_tokens": 300}')
    out = pretrain(settings(model=base, steps=4, lr=1e-2, new_rows_steps=4, new_rows_lr=1e-2, save_every=4))
    after, report = AutoModelForCausalLM.from_pretrained(str(out), output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(after) is type(before)
    assert all(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    losses = read_losses(out)
    assert list(losses) == list(range(1, 9))


def rows_trained_by_hand(model, num_base_tokens: int) -> list[float]:
    """Return transformers' losses where the old rows, and every weight that is no row, have no gradient."""
    table = model.get_input_embeddings().weight
    old = torch.arange(len(table)) < num_base_tokens
    table.register_hook(lambda gradient: gradient.masked_fill(old[:, None], 0))
    for parameter in model.parameters():
        parameter.requires_grad_(parameter is table)
    pairs = [(step[:, :-1], step[:, 1:]) for step in batches(model.config.vocab_size)]
    return train_by_hand(model, pairs, steps=STEPS, lr=LR, weight_decay=0.0)


def test_new_rows_of_scaled_and_tied_embeddings_learn_as_in_transformers(tmp_path):
    """Gemma multiplies embeddings: the gradient that goes to new rows alone has to be multiplied too."""
    model = make_base(tmp_path / "base", "gemma")
    expected = rows_trained_by_hand(model, 200)
    with parallel(Layout(), seed=0) as place:
        engine = build_engine(tmp_path / "base", read_shape(tmp_path / "base"), place, torch.float32)
        got = losses_of(engine, Phase(trainable="new_rows", lr=LR, steps=STEPS), num_base_tokens=200)
    assert max(abs(a - b) for a, b in zip(got, expected, strict=True)) < 1e-4
    assert got[0] - got[-1] > 0.05


@pytest.mark.slow
def test_all_families_hold_on_two_processes_at_every_layout(tmp_path):
    for name in BASES:
        torch.save(transformers_outcome(make_base(tmp_path / name, name)), tmp_path / f"{name}.pt")
    for name in BF16:
        make_base(tmp_path / f"{name}-bf16", name, dtype=torch.bfloat16)
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "tests" / "support")]
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("families_worker.py")), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stdout.count("holds:") == 2 * (len(BASES) + len(BF16)) + 5
