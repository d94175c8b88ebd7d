"""Megatron's losses are those of transformers, at every layout, on the data of the run."""

import dataclasses
import functools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from places import ALONE
from safetensors.torch import load_file

from hanlm.tokens import open_tokens
from pretrain.config import PretrainConfig
from pretrain.data import TrainingData
from pretrain.mixture import mixture
from pretrain.train import pretrain

STEPS, LR = 20, 1e-2


def transformers_losses(config, cache: Path) -> list[float]:
    """Train transformers' own LLaMA by hand on the batches of the run: AdamW, no decay of norms, the schedule."""
    from transformers import LlamaForCausalLM

    tokens = open_tokens(config.tokens[0])
    data = TrainingData(
        [(mixture([tokens], {}), STEPS)],
        ALONE,
        seq_length=config.seq_length,
        global_batch_size=config.global_batch_size,
        micro_batch_size=config.global_batch_size,
        eos_token_id=tokens.eos_token_id,
        seed=config.seed,
        cache=cache,
    )
    model = LlamaForCausalLM.from_pretrained(str(config.model), dtype=torch.float32)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    norms = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95))
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate((step + 1) / STEPS)
        [batch] = data.step(step)
        logits = model(batch.input_BT).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.label_BT.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def rate(share: float, warmup: float = 0.03, low: float = 0.1) -> float:
    if share <= warmup:
        return LR * share / warmup
    return LR * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))))


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
