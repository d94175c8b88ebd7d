"""Two real processes of the accelerate backend, over gloo: the losses of one, stopped together, continued as one."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from causal_bases import make_causal_base

from hanlm.errors import Interrupted
from pretrain import loop
from pretrain.train import pretrain

ROOT = Path(__file__).parents[2]


def start(config, processes: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "ignore", "-m", "hanlm.torchrun", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "hanlm", "pretrain", "--backend", "accelerate"]
    names = ("model", "out", "steps", "lr", "seq_length", "global_batch_size", "micro_batch_size", "precision")
    for name in (*names, "new_rows_steps", "save_every", "eval_tokens"):
        command += [f"--{name.replace('_', '-')}", str(getattr(config, name))]
    command += ["--tokens", str(config.tokens[0]), "--log-every", "1"]
    command += ["--trainable", config.trainable]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "60"}
    return subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def read_rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same(ours: Path, theirs: Path) -> None:
    """As close as two orders of summing the gradients are: losses, norms, bits per byte, weights."""
    from safetensors.torch import load_file

    a_rows, b_rows = read_rows(ours), read_rows(theirs)
    assert [r["step"] for r in a_rows] == [r["step"] for r in b_rows]
    compared = 0
    for a, b in zip(a_rows, b_rows, strict=True):
        for key in b:
            if key in ("loss", "grad_norm", "lr") or key.startswith("valid/"):
                assert a[key] == pytest.approx(b[key], abs=2e-4), (a["step"], key)
                compared += 1
    assert compared >= 3 * 10 + 10
    weights = load_file(theirs / "model.safetensors")
    for name, tensor in load_file(ours / "model.safetensors").items():
        torch.testing.assert_close(tensor, weights[name], atol=2e-3, rtol=0, msg=name)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(settings, tiny_tokenizer_folder, tmp_path):
    base = make_causal_base(tmp_path / "bloom", "bloom", tiny_tokenizer_folder)
    config = settings(
        "one",
        backend="accelerate",
        model=base,
        steps=8,
        new_rows_steps=2,
        lr=3e-3,
        eval_tokens=2000,
        global_batch_size=8,
    )
    two = start(dataclasses.replace(config, out=tmp_path / "two"), 2)
    said = two.communicate(timeout=300)[1]
    assert two.returncode == 0, said
    assert "Warning" not in said
    assert_same(tmp_path / "two", pretrain(config))


@pytest.mark.slow
@pytest.mark.fault(3)
@pytest.mark.fault(7)
def test_two_processes_are_stopped_by_ctrl_c_and_one_goes_on_with_the_same_samples(
    settings, tiny_tokenizer_folder, tmp_path
):
    """With LoRA, so that DDP sees few of the parameters."""
    base = make_causal_base(tmp_path / "neox", "gpt_neox", tiny_tokenizer_folder)
    changes = {
        "trainable": "lora",
        "steps": 500,
        "lr": 1e-3,
        "eval_tokens": 0,
        "save_every": 0,
    }
    config = settings("two", backend="accelerate", model=base, **changes)
    metrics = config.out.with_name("two.work") / "metrics.jsonl"
    run = start(config, 2)
    deadline = time.monotonic() + 150
    while not (metrics.is_file() and '"loss"' in metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=100)[1]
    assert run.returncode == 75, said
    assert "Traceback" not in said
    assert "Warning" not in said
    assert said.count("which is saved; run the same command again to resume") == 1
    tracker = config.out.with_name("two.work") / "checkpoints" / "latest.json"
    stopped_after = json.loads(tracker.read_text())["step"]
    assert 0 < stopped_after < 480
    # One process takes over; another trains alone from the beginning.
    until = stopped_after + 10
    original = loop.Run._step

    def step(self, phase, stop):
        loss, stops = original(self, phase, stop)
        return loss, stops or self.progress.step == until

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "_step", step)
        for each in (config, dataclasses.replace(config, out=tmp_path / "one")):
            with pytest.raises(Interrupted):
                pretrain(each)
    rows = [read_rows(tmp_path / f"{name}.work") for name in ("two", "one")]
    assert [r["step"] for r in rows[0]] == [r["step"] for r in rows[1]] == list(range(1, until + 1))
    assert [r["loss"] for r in rows[0]] == pytest.approx([r["loss"] for r in rows[1]], abs=1e-3)
