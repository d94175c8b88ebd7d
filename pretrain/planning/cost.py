"""Hours, money and disk of a run."""

from pretrain.families import ModelShape
from pretrain.layout import Layout
from pretrain.planning.parts import Training, model_parameters, num_low_rank, trained_parameters
from pretrain.trainable.trained import Trained

_EXACT_BYTES, _MOMENTS_BYTES = 4, 8
"""Of one parameter the exact weight, and of a trained one AdamW's two means (pretrain/megatron/state.py)."""


def checkpoint_bytes(shape: ModelShape, trained: Trained | None = None) -> int:
    """Return the size of one checkpoint, whatever the layout and the precision.

    Args:
        shape: The model.
        trained: What is trained of it when the checkpoint is written; by default every weight.
    """
    whole = Training(layout=Layout(), micro_batch_size=1, seq_length=1, trained=trained)
    num_held = model_parameters(shape) + num_low_rank(shape, whole, 0)
    return num_held * _EXACT_BYTES + trained_parameters(shape, whole, 0) * _MOMENTS_BYTES


def disk_bytes(
    shape: ModelShape, *, keep_checkpoints: int, num_models: int, bytes_per_weight: int, trained: Trained | None = None
) -> int:
    """Return the room that a run takes: checkpoints to keep and the one being written, and models published.

    Args:
        shape: The model.
        keep_checkpoints: Latest ones to keep.
        num_models: Snapshots and the result.
        bytes_per_weight: Of the base's precision, in which models are published.
        trained: What is trained; by default every weight.
    """
    checkpoints = (keep_checkpoints + 1) * checkpoint_bytes(shape, trained)
    return checkpoints + num_models * model_parameters(shape) * bytes_per_weight


def training_hours(num_tokens: float, *, tokens_per_second: float) -> float:
    """Return the hours of training alone, without validation, saving and failures."""
    return num_tokens / tokens_per_second / 3600
