"""How much memory one process of a layout takes at its peak.

The formula follows what this code allocates, tensor by tensor: what is held all the time, what autograd keeps of each
layer for the backward pass, and the largest of the moments that come on top. tests/pretrain/test_planned_memory.py
holds it against measured peaks on a CPU, on one process and on two. The terms that differ on CUDA (``Device``) follow
from the kernels' documented outputs. Letters: N tokens of a micro-batch, D hidden, Q queries, K keys, F feed-forward,
V vocabulary.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from pretrain.families import Cut, Fuse, ModelShape, Weight
from pretrain.layout import Layout

type Device = Literal["cpu", "cuda"]

_MASTER_BYTES = 4
_GRADIENT_BYTES = 4
_MOMENTS_BYTES = 8
_BLOCK_ELEMENTS = 2**26
"""Logits at once (pretrain/loss.py)."""
_CACHE_ROWS = 128
"""Rows of them in fp32 at once on a CPU (pretrain/loss.py)."""


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

    @property
    def num_tokens(self) -> int:
        """Tokens of a micro-batch."""
        return self.micro_batch_size * self.seq_length

    @property
    def world_size(self) -> int:
        """Processes in all."""
        return self.layout.tensor * self.layout.pipeline * self.data_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes of one process at its peak, by what they hold."""

    stage: int
    """Pipeline stage, from 0."""
    weights: int
    masters: int
    """The exact fp32 weights behind bf16 ones."""
    gradients: int
    moments: int
    """AdamW's two means."""
    activations: int
    """Kept for the backward pass."""
    logits: int
    """The block of logits, its part in fp32, and the output layer's gradient."""
    workspace: int
    """What comes on top for a moment; together with ``logits`` the largest moment."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.static + self.activations + self.logits + self.workspace

    @property
    def static(self) -> int:
        """What is held all the time."""
        return self.weights + self.masters + self.gradients + self.moments


def peak_memory(shape: ModelShape, training: Training) -> Memory:
    """Return the memory of the process that takes most, over the stages of the pipeline.

    Every weight is taken to be trained: phases that train less take less.
    """
    stages = (stage_memory(shape, training, stage) for stage in range(training.layout.pipeline))
    return max(stages, key=lambda m: m.total)


def stage_memory(shape: ModelShape, training: Training, stage: int) -> Memory:
    """Return the memory of a process of one pipeline stage."""
    num_local = num_parameters(shape, training.layout, stage)
    size, shards = training.bytes_per_value, training.data_size if training.shards_optimizer else 1
    activations, logits, workspace = max(_moments(shape, training, stage), key=sum)
    return Memory(
        stage=stage,
        weights=num_local * size,
        masters=num_local * _MASTER_BYTES // shards if size == 2 else 0,
        gradients=num_local * _GRADIENT_BYTES,
        moments=num_local * _MOMENTS_BYTES // shards,
        activations=activations,
        logits=logits,
        workspace=workspace,
    )


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


def _hidden(shape: ModelShape, training: Training) -> int:
    """Return the values of a micro-batch's hidden state that a process holds: shared under sequence parallelism."""
    shares = training.layout.tensor if training.layout.sequence_parallel else 1
    return training.num_tokens * shape.hidden_size // shares


def _norm_bytes(shape: ModelShape, training: Training) -> int:
    """Return what a norm keeps: its input and its output, which is the next linear layer's input.

    CUDA has one kernel for it. On a CPU torch composes it and keeps the normalised values too, in fp32.
    """
    values = {("cuda", 2): 2, ("cuda", 4): 2, ("cpu", 2): 5, ("cpu", 4): 3}
    factor = values[training.device, training.bytes_per_value]
    return factor * _hidden(shape, training) * training.bytes_per_value


def kept_of_layer(shape: ModelShape, training: Training) -> int:
    """Return the bytes of activations that autograd keeps of one layer for one micro-batch.

    Both norms · the fused projection Q + 2K (the values are a view of it), queries and keys after rotation Q + K, the
    attention's output Q · gate and up 2F, silu F, the up half once more F, their product F · the softmax's sums, one
    for each head, and the rotation's tables. Attention scores are never kept (Dao et al. 2022, arXiv:2205.14135).
    """
    sizes, tokens, size = shape.sizes, training.num_tokens, training.bytes_per_value
    if training.recomputes:
        return _hidden(shape, training) * size
    split = (3 * sizes["Q"] + 3 * sizes["K"] + 5 * sizes["F"]) * size + shape.num_heads * 4
    tables = 4 * training.seq_length * shape.head_size * size
    return 2 * _norm_bytes(shape, training) + tokens * split // training.layout.tensor + tables


def _kept_of_chunk(shape: ModelShape, training: Training, stage: int) -> int:
    """Return what is kept of one micro-batch by one stretch of layers: of the whole stage, where it holds no more."""
    layout = training.layout
    layers = shape.num_layers // (layout.pipeline * layout.virtual) * kept_of_layer(shape, training)
    sends_output = layout.virtual > 1 or stage < layout.pipeline - 1
    return layers + sends_output * _hidden(shape, training) * training.bytes_per_value


def _in_flight(training: Training, stage: int) -> int:
    """Return how often a stage goes forward before its first backward pass is over: one forward, one backward then.

    Interleaved, a stage goes forward with all micro-batches of a turn through all stretches but the last, and twice for
    each stage behind it (arXiv:2104.04473, section 2.2, as megatron-core counts it).
    """
    layout = training.layout
    after = layout.pipeline - stage - 1
    ahead = after if layout.virtual == 1 else 2 * after + (layout.virtual - 1) * layout.pipeline
    return min(ahead + 1, training.num_micro_batches * layout.virtual)


def _moments(shape: ModelShape, training: Training, stage: int) -> list[tuple[int, int, int]]:
    """Return activations, logits and workspace at the three moments that compete for the peak, in bytes.

    They are the cross-entropy, the backward pass of the last layer, and that of the embedding, when the activations of
    its micro-batch are gone.
    """
    layout, size = training.layout, training.bytes_per_value
    is_first, is_last = stage == 0, stage == layout.pipeline - 1
    kept, in_flight = _kept_of_chunk(shape, training, stage), _in_flight(training, stage)
    table = vocab_rows(shape, layout.tensor) * shape.hidden_size * size
    waiting = (
        table if is_first and is_last and shape.is_tied else 0
    )  # the head's gradient, until the embedding has its own
    gathered = training.num_tokens * shape.hidden_size * size if layout.sequence_parallel else 0
    backward = max(_backward_of_layer(shape, training), is_last * _backward_of_last_norm(shape, training))
    moments = [(in_flight * kept, waiting, gathered + backward)]
    if is_last:
        workspace = _norm_bytes(shape, training) + _around_the_loss(shape, training)
        moments.append((in_flight * kept, _logits_bytes(shape, training) + table, gathered + workspace))
    if is_first:
        hidden = _hidden(shape, training) * size
        tables = table * (2 if size == 2 else 1)  # in bf16 its gradient is made twice
        moments.append(((in_flight - 1) * kept, waiting, gathered + hidden + tables))
    return moments


def _backward_of_layer(shape: ModelShape, training: Training) -> int:
    """Return what a feed-forward block's backward pass needs at once: gradients of gate and up, and of its output."""
    size, layout = training.bytes_per_value, training.layout
    gradients = 2 * shape.ffn_size * training.num_tokens // layout.tensor + _hidden(shape, training)
    if not training.recomputes:
        return gradients * size
    return gradients * size + kept_of_layer(shape, dataclasses.replace(training, recomputes=False))


def _backward_of_last_norm(shape: ModelShape, training: Training) -> int:
    """Return input, gradients and, where torch composes it, the values in between, in fp32."""
    values = {("cuda", 2): 3, ("cuda", 4): 3, ("cpu", 2): 12, ("cpu", 4): 6}
    factor = values[training.device, training.bytes_per_value]
    return factor * _hidden(shape, training) * training.bytes_per_value


def _around_the_loss(shape: ModelShape, training: Training) -> int:
    """Return the gradient of the hidden states, and, where the norm keeps a copy in fp32, its own input beside that."""
    is_copied = training.device == "cpu" and training.bytes_per_value == 2
    gradient = training.num_tokens * shape.hidden_size
    return (gradient + is_copied * _hidden(shape, training)) * training.bytes_per_value


def _logits_bytes(shape: ModelShape, training: Training) -> int:
    """Return the bytes of the block of logits in the training precision, and of those rows of it that are in fp32."""
    columns = vocab_rows(shape, training.layout.tensor)
    rows = min(training.num_tokens, max(1, _BLOCK_ELEMENTS // columns))
    few = training.device == "cpu" and training.layout.tensor == 1
    rows_in_fp32 = min(rows, _CACHE_ROWS) if few else rows
    return rows * columns * training.bytes_per_value + rows_in_fp32 * columns * 4
