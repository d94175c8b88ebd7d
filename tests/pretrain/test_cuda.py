"""The CUDA path: the same code on a GPU gives what a CPU gives. Run with ``pytest -m gpu``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pretrain.train import pretrain

pytestmark = pytest.mark.gpu


def test_losses_on_a_gpu_are_those_of_a_cpu(settings, read_losses):
    """The CPU's losses come from a process that sees no GPU."""
    ours = settings("gpu", steps=20, lr=0.01)
    theirs = settings("cpu", steps=20, lr=0.01)
    command = [sys.executable, "-m", "hanlm", "pretrain", "--model", str(theirs.model), "--out", str(theirs.out)]
    command += ["--tokens", str(theirs.tokens[0]), "--steps", "20", "--lr", "0.01", "--seq-length", "32"]
    command += ["--global-batch-size", "4", "--micro-batch-size", "2", "--precision", "fp32", "--log-every", "1"]
    where = {"cwd": Path(__file__).parents[2], "env": os.environ | {"CUDA_VISIBLE_DEVICES": ""}}
    subprocess.run([*command, "--eval-tokens", "0"], check=True, timeout=300, **where)
    on_gpu, on_cpu = read_losses(pretrain(ours)), read_losses(theirs.out)
    assert list(on_gpu.values()) == pytest.approx(list(on_cpu.values()), abs=1e-3)


def test_bf16_trains_and_resumes_on_a_gpu(settings, read_losses):
    assert torch.cuda.is_available()
    losses = read_losses(pretrain(settings(steps=20, lr=0.01, precision="bf16", save_every=5)))
    assert losses[20] < losses[1] - 0.2
