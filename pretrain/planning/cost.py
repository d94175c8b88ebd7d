"""Hours, money and disk of a run."""

from pretrain.families import ModelShape
from pretrain.planning.memory import model_parameters

_CHECKPOINT_BYTES = 4 + 8
"""Of one trained parameter: the exact weight and AdamW's two means (pretrain/state.py)."""


def checkpoint_bytes(shape: ModelShape) -> int:
    """Return the size of one checkpoint, whatever the layout and the precision."""
    return model_parameters(shape) * _CHECKPOINT_BYTES


def disk_bytes(shape: ModelShape, *, keep_checkpoints: int, num_models: int, bytes_per_weight: int) -> int:
    """Return the room that a run takes: checkpoints to keep and the one being written, and models published.

    Args:
        shape: The model.
        keep_checkpoints: Latest ones to keep.
        num_models: Snapshots and the result.
        bytes_per_weight: Of the base's precision, in which models are published.
    """
    return (keep_checkpoints + 1) * checkpoint_bytes(shape) + num_models * model_parameters(shape) * bytes_per_weight


def training_hours(num_tokens: float, *, tokens_per_second: float) -> float:
    """Return the hours of training alone, without validation, saving and failures."""
    return num_tokens / tokens_per_second / 3600
