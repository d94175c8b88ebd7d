"""How one model is spread over processes, and which layouts a model can have."""

import os
from dataclasses import dataclass

from hanlm.errors import ConfigError
from pretrain.families import ModelShape


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How one model is spread over processes; what is left over is data parallel."""

    tensor: int = 1
    pipeline: int = 1
    sequence_parallel: bool = False

    def data_size(self, num_processes: int) -> int:
        """Return how many data-parallel ranks there are.

        Raises:
            ConfigError: If the processes cannot be divided as the layout says.
        """
        if num_processes % (self.tensor * self.pipeline):
            raise ConfigError(
                f"expected a number of processes divisible by tensor x pipeline = {self.tensor} x {self.pipeline}, "
                f"got {num_processes}; start with torchrun --nproc-per-node or change the layout."
            )
        return num_processes // (self.tensor * self.pipeline)


_MAX_MICRO_BATCH = 8


def num_processes() -> int | None:
    """Return how many processes torchrun has started, or None outside it."""
    given = os.environ.get("WORLD_SIZE")
    return int(given) if given else None


def micro_batch_size(global_batch_size: int, given: int | None, *, data_size: int) -> int:
    """Return how many sequences a process takes at once: what is given, or else the largest divisor up to 8.

    Raises:
        ConfigError: If the step's sequences cannot be shared out evenly.
    """
    unit = (given or 1) * data_size
    if global_batch_size % unit:
        factors = f"data-parallel processes = {data_size}"
        if given:
            factors = f"--micro-batch-size x data-parallel processes = {given} x {data_size}"
        raise ConfigError(
            f"--global-batch-size {global_batch_size} must be divisible by {factors}; choose a multiple of {unit}."
        )
    mine = global_batch_size // data_size
    return given or max(size for size in range(1, _MAX_MICRO_BATCH + 1) if mine % size == 0)


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
    if shape.window is not None and seq_length > shape.window:
        raise ConfigError(
            f"--seq-length {seq_length} is beyond the {shape.window} tokens of the model's sliding window, which "
            f"pretraining on Megatron-Core does not cut off: choose at most {shape.window}."
        )
