"""What a phase trains."""

from typing import Any

from pretrain.config import Phase, Rows
from pretrain.lora import NAME as LORA
from pretrain.new_rows import EMBEDDING, OUTPUT


def trained_rows(phase: Phase, *, has_new: bool) -> Rows:
    """Return which rows of the vocabulary tables a phase trains."""
    if phase.trainable in ("all", "embeddings"):
        return "all"
    rows = phase.rows if phase.trainable == "lora" else "new"
    return rows if has_new or rows == "all" else "none"


def set_trainable(model: Any, phase: Phase) -> None:
    """Mark the parameters of a ``GPTModel`` that the phase trains; all others get no gradient at all.

    New rows that train without the old ones are parameters of their own (``NewRows``), not marked here.
    """
    all_rows = trained_rows(phase, has_new=False) == "all"
    for name, parameter in model.named_parameters():
        if name.startswith(f"{LORA}."):
            trains = phase.trainable == "lora"
        elif name in (EMBEDDING, OUTPUT):
            trains = all_rows
        else:
            trains = phase.trainable == "all"
        parameter.requires_grad_(trains)
