"""What a phase trains."""

from typing import Any, Literal

from pretrain.config import Phase
from pretrain.new_rows import EMBEDDING, OUTPUT

type Rows = Literal["none", "new", "all"]


def trained_rows(phase: Phase, *, has_new: bool) -> Rows:
    """Return which rows of the vocabulary tables a phase trains."""
    if phase.trainable in ("all", "embeddings"):
        return "all"
    return "new" if has_new else "none"


def set_trainable(model: Any, phase: Phase) -> None:
    """Mark the parameters of a ``GPTModel`` that the phase trains; all others get no gradient at all.

    New rows that train without the old ones are parameters of their own (``NewRows``), not marked here.
    """
    for name, parameter in model.named_parameters():
        is_table = name in (EMBEDDING, OUTPUT)
        parameter.requires_grad_(phase.trainable == "all" or (is_table and phase.trainable == "embeddings"))
