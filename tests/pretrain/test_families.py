"""Every family gives on Megatron-Core what it gives in transformers, and comes back bit by bit, at every layout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from family_bases import BASES, make_base
from family_parity import build_engine, require_parity, require_round_trip, transformers_outcome

from pretrain.families import read_shape
from pretrain.layout import Layout
from pretrain.parallel import parallel

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
    assert done.stdout.count("holds:") == 3 * (len(BASES) + len(BF16))
