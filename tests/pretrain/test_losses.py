"""Megatron's losses are those of transformers, at every layout, on the data of the run."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from by_hand import batches_of, train_by_hand
from safetensors.torch import load_file

from pretrain.config import PretrainConfig
from pretrain.train import pretrain

STEPS, LR = 20, 1e-2


def transformers_losses(config, cache: Path) -> list[float]:
    """Train transformers' own LLaMA by hand on the batches of the run."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(str(config.model), dtype=torch.float32)
    return train_by_hand(model, batches_of(config, STEPS, cache), steps=STEPS, lr=LR)


def test_one_process_trains_as_transformers_does(settings, tmp_path, read_losses):
    config = settings(steps=STEPS, lr=LR)
    expected = transformers_losses(config, tmp_path / "index")
    got = read_losses(pretrain(config))
    assert list(got) == list(range(1, STEPS + 1))
    assert max(abs(a - b) for a, b in zip(got.values(), expected, strict=True)) < 1e-4
    assert expected[0] - expected[-1] > 0.2  # it did learn


def run_distributed(config, processes: int, *flags: str) -> None:
    """Run the command under torchrun, one thread a process."""
    command = [sys.executable, "-W", "ignore", "-m", "hanlm.torchrun", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "hanlm", "pretrain"]
    for name in ("model", "out", "steps", "lr", "seq_length", "global_batch_size", "micro_batch_size", "precision"):
        command += [f"--{name.replace('_', '-')}", str(getattr(config, name))]
    command += ["--tokens", *map(str, config.tokens), "--eval-tokens", str(config.eval_tokens), "--log-every", "1"]
    done = subprocess.run(
        [*command, *flags],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


LAYOUTS = {
    "TP2": (("--tensor-parallel", "2"), "plain", "fp32"),
    "TP2+SP": (("--tensor-parallel", "2", "--sequence-parallel"), "plain", "fp32"),
    "PP2": (("--pipeline-parallel", "2"), "plain", "fp32"),
    "PP2 tied": (("--pipeline-parallel", "2"), "tied", "fp32"),
    "DP2": ((), "plain", "fp32"),
    "DP2 bf16": ((), "plain", "bf16"),
}


@pytest.fixture(scope="module")
def reference(extended_model, tied_model, tiny_tokens, tmp_path_factory):
    """Return a function that trains in one process: its configuration, metrics and weights."""

    @functools.cache
    def train(model: str, precision: str):
        config = PretrainConfig(
            model=tied_model if model == "tied" else extended_model,
            tokens=(tiny_tokens,),
            out=tmp_path_factory.mktemp("reference") / "out",
            steps=STEPS,
            lr=LR,
            seq_length=32,
            global_batch_size=4,
            micro_batch_size=2,
            precision=precision,  # pyright: ignore[reportArgumentType]
            eval_tokens=2000,
            log_every=1,
        )
        out = pretrain(config)
        return config, read_rows(out), load_file(out / "model.safetensors")

    return train


def read_rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_losses_of_one_process(reference, tmp_path, read_weights, layout):
    """In bf16 as close as its rounding lets two orders of summing the gradients be."""
    flags, model, precision = LAYOUTS[layout]
    base, rows, weights = reference(model, precision)
    config = dataclasses.replace(base, out=tmp_path / "out")
    run_distributed(config, 2, *flags)
    got = read_rows(config.out)
    assert [r["step"] for r in got] == [r["step"] for r in rows]
    tolerance, weight_tolerance = (2e-4, 2e-3) if precision == "fp32" else (2e-2, 5e-2)
    compared = 0
    for ours, theirs in zip(got, rows, strict=True):
        for key in theirs:
            if key in ("loss", "grad_norm") or key.startswith("valid/"):
                assert ours[key] == pytest.approx(theirs[key], abs=tolerance), (ours["step"], key)
                compared += 1
    assert compared >= 2 * STEPS + 10
    trained = read_weights(config.out)
    assert trained.keys() == weights.keys()
    for name, tensor in trained.items():
        torch.testing.assert_close(tensor, weights[name], atol=weight_tolerance, rtol=0, msg=name)
