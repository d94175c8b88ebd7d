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
    virtual: int = 1
    """Stretches of layers that a stage holds: more than one means an interleaved pipeline."""
    sequence_parallel: bool = False

    @property
    def micro_batch_multiple(self) -> int:
        """What the number of a step's micro-batches has to be a multiple of.

        The schedule of an interleaved pipeline takes as many in turn as there are stages (arXiv:2104.04473).
        """
        return self.pipeline if self.virtual > 1 else 1

    def layers(self, num_layers: int, *, stage: int, chunk: int) -> range:
        """Return which of the model's layers a chunk of a stage holds: data go round all stages once for each chunk."""
        length = num_layers // (self.pipeline * self.virtual)
        first = (chunk * self.pipeline + stage) * length
        return range(first, first + length)

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


def micro_batch_size(global_batch_size: int, given: int | None, *, data_size: int, multiple: int = 1) -> int:
    """Return how many sequences a process takes at once: what is given, or else the largest divisor up to 8.

    Args:
        global_batch_size: Sequences a step.
        given: ``--micro-batch-size``.
        data_size: Data-parallel processes.
        multiple: What the number of micro-batches has to be a multiple of.

    Raises:
        ConfigError: If the step's sequences cannot be shared out evenly.
    """
    unit = (given or 1) * data_size * multiple
    if global_batch_size % unit:
        factors = {"data-parallel processes": data_size}
        if given:
            factors = {"--micro-batch-size": given, **factors}
        if multiple > 1:
            factors["pipeline stages (for --virtual-pipeline)"] = multiple
        raise ConfigError(
            f"--global-batch-size {global_batch_size} must be divisible by {' x '.join(factors)} = "
            f"{' x '.join(map(str, factors.values()))}; choose a multiple of {unit}."
        )
    mine = global_batch_size // data_size // multiple
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
    if layout.virtual > 1 and layout.pipeline == 1:
        raise ConfigError(f"--virtual-pipeline {layout.virtual} needs --pipeline-parallel of at least 2, got 1.")
    if shape.num_layers % (layout.pipeline * layout.virtual):
        raise ConfigError(
            f"--pipeline-parallel {layout.pipeline} x --virtual-pipeline {layout.virtual} does not divide the model's "
            f"{shape.num_layers} layers; every chunk holds equally many: choose another product."
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
