"""What decides a process's part of a training: how many weights it holds, and how many of them it trains."""

import math
from dataclasses import dataclass
from typing import Literal

from pretrain.families import Cut, Fuse, ModelShape, Weight
from pretrain.layout import Layout
from pretrain.trainable.trained import Trained, low_rank_weights

type Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Everything besides the model that decides the memory of a process."""

    layout: Layout
    data_size: int = 1
    """Data-parallel processes."""
    micro_batch_size: int
    seq_length: int
    num_micro_batches: int = 1
    """That a process goes through in a step."""
    bytes_per_value: Literal[2, 4] = 2
    """Of the training precision: 2 for bf16, 4 for fp32."""
    device: Device = "cuda"
    shards_optimizer: bool = False
    """Whether the data-parallel processes share out masters and moments (the distributed optimizer)."""
    recomputes: bool = False
    """Whether only the input of each layer is kept, and the layer run again in the backward pass."""
    trained: Trained | None = None
    """What is trained; None for every weight."""

    @property
    def num_tokens(self) -> int:
        """Tokens of a micro-batch."""
        return self.micro_batch_size * self.seq_length

    @property
    def world_size(self) -> int:
        """Processes in all."""
        return self.layout.tensor * self.layout.pipeline * self.data_size


def trained_of(shape: ModelShape, training: Training) -> Trained:
    """Return what is trained of a model."""
    return training.trained or Trained.all_of(shape)


def trained_parameters(shape: ModelShape, training: Training, stage: int) -> int:
    """Return how many parameters a process of a stage trains."""
    layout, trained = training.layout, trained_of(shape, training)
    own = sum(_num_local(shape, weight, layout) for weight in shape.weights if weight.is_layered)
    layers = layers_of_stage(shape, layout, stage)
    total = own * sum(layer in layers for layer in trained.layers)
    if trained.final_norm and stage == layout.pipeline - 1:
        total += shape.hidden_size
    if trained.trains_lora:
        total += num_low_rank(shape, training, stage)
    return total + trained_table_weights(shape, training, stage)


def num_low_rank(shape: ModelShape, training: Training, stage: int) -> int:
    """Return how many weights the low-rank updates of a process of a stage have."""
    lora, layout = trained_of(shape, training).lora, training.layout
    return (
        low_rank_weights(shape, lora, tensor=layout.tensor) * len(layers_of_stage(shape, layout, stage)) if lora else 0
    )


def trained_table_weights(shape: ModelShape, training: Training, stage: int) -> int:
    """Return the weights of those rows of the vocabulary tables of a process that train.

    New rows are the last ones: with tensor parallelism the last process holds most of them.
    """
    trained, layout = trained_of(shape, training), training.layout
    is_first, is_last = stage == 0, stage == layout.pipeline - 1
    num_tables = is_first + is_last if layout.pipeline > 1 or not shape.is_tied else 1
    return num_tables * local_rows(shape, training) * shape.hidden_size if trained.num_rows else 0


def local_rows(shape: ModelShape, training: Training) -> int:
    """Return how many rows of a table a process trains: at most as many as it holds."""
    trained = trained_of(shape, training)
    rows = vocab_rows(shape, training.layout.tensor)
    return rows if trained.rows == "all" else min(rows, trained.num_rows)


def layers_of_stage(shape: ModelShape, layout: Layout, stage: int) -> list[int]:
    """Return the layers of a stage."""
    chunks = range(layout.virtual)
    return [layer for chunk in chunks for layer in layout.layers(shape.num_layers, stage=stage, chunk=chunk)]


def num_parameters(shape: ModelShape, layout: Layout, stage: int) -> int:
    """Return how many parameters a process of a stage holds, vocabulary padding included."""
    is_first, is_last = stage == 0, stage == layout.pipeline - 1
    total = 0
    for weight in shape.weights:
        if weight.is_layered:
            total += _num_local(shape, weight, layout) * shape.num_layers // layout.pipeline
        elif weight.megatron.startswith("embedding."):
            copies = is_first or (shape.is_tied and is_last)  # a tied last stage holds a copy as its output layer
            total += _num_local(shape, weight, layout) * copies
        else:
            total += _num_local(shape, weight, layout) * is_last
    return total


def model_parameters(shape: ModelShape) -> int:
    """Return how many parameters the whole model has."""
    return num_parameters(shape, Layout(), 0)


def vocab_rows(shape: ModelShape, tensor: int) -> int:
    """Return how many rows of the vocabulary a tensor-parallel process holds, padding included."""
    return -(-shape.vocab_size // tensor)


def _num_local(shape: ModelShape, weight: Weight, layout: Layout) -> int:
    if weight.fuse is Fuse.VOCAB:
        return vocab_rows(shape, layout.tensor) * shape.hidden_size
    whole = sum(math.prod(shape.sizes[axis] for axis in axes) for axes in weight.axes)
    return whole if weight.cut is Cut.NONE else whole // layout.tensor
