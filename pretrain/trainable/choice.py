"""Which parameters of a Megatron model a phase trains."""

from collections.abc import Collection
from typing import Any

from pretrain.config import Phase
from pretrain.trainable.lora import NAME as LORA
from pretrain.trainable.new_rows import EMBEDDING, OUTPUT
from pretrain.trainable.trained import trained_rows


def set_trainable(model: Any, phase: Phase, new_layers: Collection[int]) -> None:
    """Mark the parameters of a ``GPTModel`` that the phase trains; all others get no gradient at all.

    New rows that train without the old ones are parameters of their own (``NewRows``), not marked here.

    Args:
        model: This process's part.
        phase: What to train.
        new_layers: Layers of the whole model that `hanlm expand-blocks` added.
    """
    all_rows = trained_rows(phase, has_new=False) == "all"
    of_blocks = block_parameters(model, new_layers) if phase.trainable == "new_blocks" else set[Any]()
    for name, parameter in model.named_parameters():
        if name.startswith(f"{LORA}."):
            trains = phase.trainable == "lora"
        elif name in (EMBEDDING, OUTPUT):
            trains = all_rows
        else:
            trains = phase.trainable == "all" or parameter in of_blocks
        parameter.requires_grad_(trains)


def block_parameters(model: Any, layers: Collection[int]) -> set[Any]:
    """Return the parameters of those of the whole model's layers that this process holds."""
    mine = [layer for layer in model.decoder.layers if layer.layer_number - 1 in layers]  # megatron-core counts from 1
    return {parameter for layer in mine for parameter in layer.parameters()}
