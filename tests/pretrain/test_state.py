"""Loading is right only if the steps after it are: the first loss says nothing of the optimizer."""

import dataclasses
import json
import os
import signal

import pytest
import torch

from hanlm.errors import Interrupted
from pretrain.config import Phase
from pretrain.megatron import backend as megatron
from pretrain.megatron.engine import Engine
from pretrain.train import pretrain

RUN = {"steps": 9, "new_rows_steps": 2, "lr": 0.02, "keep_checkpoints": 9}


def rows(out):
    read = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in read]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("distributed", [False, True])
def test_five_steps_after_a_resume_are_exact_whatever_the_optimizer(
    settings, monkeypatch, read_weights, precision, distributed
):
    """Stopped after step 6, four steps into the second phase: losses, gradients, weights, moments and counts."""
    config = settings(**RUN, precision=precision, distributed_optimizer=distributed)
    whole = pretrain(dataclasses.replace(config, out=config.out.with_name("whole")))
    step, engines = Engine.step, []

    def stopping(self, *args, **options):
        engines.append(self)
        if len(engines) == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args, **options)

    monkeypatch.setattr(Engine, "step", stopping)
    with pytest.raises(Interrupted, match="after step 6"):
        pretrain(config)
    before = moments(engines[-1])
    restored, restore = [], megatron.restore

    def restoring(engine, *args, **options):
        restore(engine, *args, **options)
        restored.append(moments(engine))
        assert not any(p.grad_fn for p in engine.model.parameters())

    monkeypatch.setattr(megatron, "restore", restoring)
    out = pretrain(config)
    assert len(rows(out)) == 11
    assert rows(out) == rows(whole)
    got, wanted = read_weights(out), read_weights(whole)
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    [after] = restored
    assert len(after) == len(before) > 10
    assert all(
        torch.equal(mine, theirs) for a, b in zip(after, before, strict=True) for mine, theirs in zip(a, b, strict=True)
    )
    assert {float(entry[0]) for entry in after} == {4.0}


@pytest.mark.slow
@pytest.mark.parametrize("distributed", [False, True])
def test_a_run_stopped_between_two_phases_goes_on_with_other_weights_trained(
    settings, monkeypatch, read_weights, distributed
):
    phases = (Phase(lr=0.02, steps=3), Phase(trainable="new_rows", lr=0.05, steps=3), Phase(lr=0.02, steps=3))
    config = settings(phases=phases, distributed_optimizer=distributed)
    whole = pretrain(dataclasses.replace(config, out=config.out.with_name("whole")))
    step, calls = Engine.step, []

    def stopping(self, *args, **options):
        calls.append(1)
        if len(calls) in (3, 6):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args, **options)

    monkeypatch.setattr(Engine, "step", stopping)
    for after in (3, 6):
        with pytest.raises(Interrupted, match=f"after step {after}"):
            pretrain(config)
    out = pretrain(config)
    assert rows(out) == rows(whole)
    got, wanted = read_weights(out), read_weights(whole)
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


def moments(engine):
    """Return count and moments of every weight, as copies; no two weights may share a count."""
    state = engine.inner_optimizer.optimizer.state
    entries = [(e["step"], e["exp_avg"], e["exp_avg_sq"]) for e in state.values()]
    assert len({step.data_ptr() for step, *_ in entries}) == len(entries)
    return [tuple(tensor.clone() for tensor in entry) for entry in entries]
