"""Layers that are computed again for the backward pass: the same numbers, from twice the forward passes."""

import pytest

from pretrain.config import Phase
from pretrain.megatron.attention import TorchAttention
from pretrain.train import pretrain
from pretrain.trainable.lora_config import LoraConfig


@pytest.fixture
def count_attention(monkeypatch):
    """Return a function that tells how often attention was computed since it was last asked."""
    calls = []
    original = TorchAttention.forward

    def forward(self, *args, **kwargs):
        calls.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(TorchAttention, "forward", forward)

    def count() -> int:
        number = len(calls)
        calls.clear()
        return number

    return count


@pytest.mark.parametrize(
    "phase",
    [
        Phase(steps=4, lr=1e-2),
        Phase(trainable="new_rows", steps=4, lr=1e-2),
        Phase(trainable="lora", rows="none", steps=4, lr=1e-2),
        Phase(trainable="lora", rows="new", steps=4, lr=1e-2),
    ],
    ids=lambda phase: f"{phase.trainable}-{phase.rows}",
)
def test_the_losses_and_weights_are_the_same(settings, read_losses, read_weights, count_attention, phase):
    """Where nothing before a layer trains, a careless recomputation gives its updates no gradient, and no error."""
    lora = LoraConfig(rank=2) if phase.trainable == "lora" else LoraConfig()
    kept = pretrain(settings("kept", phases=(phase,), lora=lora))
    calls = count_attention()
    again = pretrain(settings("again", phases=(phase,), lora=lora, recompute=True))
    assert count_attention() == 2 * calls > 0
    assert read_losses(again) == read_losses(kept)
    first, second = read_weights(kept), read_weights(again)
    assert all(second[name].equal(tensor) for name, tensor in first.items())
    assert len(set(read_losses(kept).values())) == 4
