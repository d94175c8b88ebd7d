"""What a phase trains: the trainable parameters, and the rows of them that must not change."""

from collections.abc import Mapping
from typing import Any

import torch

from pretrain.config import Phase

_VOCAB = ("embedding.word_embeddings.weight", "output_layer.weight")


def set_trainable(model: Any, phase: Phase) -> None:
    """Mark the parameters of a ``GPTModel`` that the phase trains; all others get no gradient at all."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(phase.trainable == "all" or name in _VOCAB)


def frozen_rows(model: Any, phase: Phase, *, num_base_tokens: int, tensor_rank: int) -> Mapping[Any, int]:
    """Return, for each parameter with a row a token, how many of its first local rows must stay as they are.

    A tensor-parallel rank holds the rows from ``rank * rows`` on, so a rank may hold old rows only, new rows
    only, or both.
    """
    if phase.trainable == "all":
        return {}
    rows = {p: p.shape[0] for name, p in model.named_parameters() if name in _VOCAB}
    return {p: max(0, min(n, num_base_tokens - tensor_rank * n)) for p, n in rows.items()}


@torch.no_grad()
def clear_frozen_gradients(frozen: Mapping[Any, int]) -> None:
    """Zero the gradients of frozen rows, after they were summed over ranks and before clipping.

    With a zero gradient from the first step on and no decay AdamW adds exactly zero to these rows.
    """
    for parameter, rows in frozen.items():
        parameter.main_grad[:rows].zero_()
