"""How one model is spread over processes, and which layouts a model can have."""

from dataclasses import dataclass

from hanlm.errors import ConfigError
from pretrain.families import ModelShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How one model is spread over processes; what is left over is data parallel."""

    tensor: int = 1
    pipeline: int = 1
    sequence_parallel: bool = False


def check_layout(shape: ModelShape, layout: Layout, *, seq_length: int) -> None:
    """Refuse a layout that this model cannot have.

    Raises:
        ConfigError: Names the flag and the number that does not fit.
    """
    for name, number in (("attention heads", shape.num_heads), ("key-value heads", shape.num_kv_heads)):
        if number % layout.tensor:
            raise ConfigError(
                f"--tensor-parallel {layout.tensor} does not divide the model's {number} {name}; "
                "choose a divisor of both."
            )
    if shape.ffn_size % layout.tensor:
        raise ConfigError(f"--tensor-parallel {layout.tensor} does not divide the feed-forward size {shape.ffn_size}.")
    if shape.num_layers % layout.pipeline:
        raise ConfigError(
            f"--pipeline-parallel {layout.pipeline} does not divide the model's {shape.num_layers} layers; "
            "every stage holds equally many: choose a divisor."
        )
    if layout.sequence_parallel and layout.tensor == 1:
        raise ConfigError("--sequence-parallel needs --tensor-parallel of at least 2.")
    if layout.sequence_parallel and seq_length % layout.tensor:
        raise ConfigError(f"--sequence-parallel needs a --seq-length divisible by {layout.tensor}, got {seq_length}.")
    if seq_length > shape.max_positions:
        raise ConfigError(f"--seq-length {seq_length} is beyond the model's {shape.max_positions} positions.")
