"""A gradient that is not finite costs its step, and a run of them stops the training."""

import math

import pytest
import torch

from hanlm.errors import InputError
from pretrain.megatron import engine
from pretrain.train import pretrain


def spoil(monkeypatch, steps) -> None:
    """Make the loss of some steps NaN; a step of the small run has two microbatches."""
    original, calls = engine.linear_cross_entropy, []

    def loss(*args, **kwargs):
        calls.append(None)
        total, nll = original(*args, **kwargs)
        return (total * math.nan if (len(calls) + 1) // 2 in steps else total), nll

    monkeypatch.setattr(engine, "linear_cross_entropy", loss)


@pytest.mark.fault(9)
def test_a_step_with_a_nan_gradient_is_left_out_and_seen_in_the_metrics(
    settings, monkeypatch, read_losses, read_weights
):
    with monkeypatch.context() as patch:
        spoil(patch, {3})
        out = pretrain(settings(steps=5))
    losses = read_losses(out)
    assert [step for step, loss in losses.items() if loss is None] == [3]  # JSON has no NaN
    assert all(torch.isfinite(t).all() for t in read_weights(out).values())


@pytest.mark.fault(9)
def test_five_in_a_row_stop_the_run(settings, monkeypatch):
    with monkeypatch.context() as patch:
        spoil(patch, range(2, 20))
        with pytest.raises(InputError, match="finite gradients, got nan in 5 steps in a row"):
            pretrain(settings(steps=10))
