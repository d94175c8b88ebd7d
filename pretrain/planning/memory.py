"""How much memory one process of a layout takes at its peak.

The formula follows what this code allocates, tensor by tensor: what is held all the time, what autograd keeps of each
layer for the backward pass, and the largest of the moments that come on top. tests/pretrain/test_planned_memory.py
holds it against measured peaks on a CPU, on one process and on two. The terms that differ on CUDA (``Device``) follow
from the kernels' documented outputs. Letters: N tokens of a micro-batch, D hidden, Q queries, K keys, F feed-forward,
V vocabulary.
"""

import dataclasses
from dataclasses import dataclass

from pretrain.families import ModelShape
from pretrain.planning.parts import (
    Training,
    local_rows,
    num_low_rank,
    num_parameters,
    trained_of,
    trained_parameters,
    trained_table_weights,
    vocab_rows,
)
from pretrain.trainable.trained import Trained

_MASTER_BYTES = 4
_GRADIENT_BYTES = 4
_MOMENTS_BYTES = 8
_BLOCK_ELEMENTS = 2**26
"""Logits at once (pretrain/megatron/loss.py)."""
_CACHE_ROWS = 128
"""Rows of a block on a CPU (pretrain/megatron/loss.py)."""
_QKV, _GATE_UP = frozenset({"q_proj", "k_proj", "v_proj"}), frozenset({"gate_proj", "up_proj"})


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
    """Return the memory of the process that takes most, over the stages of the pipeline."""
    stages = (stage_memory(shape, training, stage) for stage in range(training.layout.pipeline))
    return max(stages, key=lambda m: m.total)


def stage_memory(shape: ModelShape, training: Training, stage: int) -> Memory:
    """Return the memory of a process of one pipeline stage.

    Only what is trained has gradients and moments; in bf16 frozen weights have fp32 masters too, which every process
    holds whole (pretrain/megatron/state.py).
    """
    trained = trained_of(shape, training)
    num_local = num_parameters(shape, training.layout, stage) + num_low_rank(shape, training, stage)
    num_trained = trained_parameters(shape, training, stage)
    size, shards = training.bytes_per_value, training.data_size if training.shards_optimizer else 1
    # New rows that train alone stay in the masters of their tables as well, where the optimizer takes its own.
    in_tables = (
        trained_table_weights(shape, training, stage) if trained.rows == "new" and training.shards_optimizer else 0
    )
    masters = num_local - num_trained + in_tables + num_trained // shards
    activations, logits, workspace = max(_moments(shape, training, stage), key=sum)
    # On a CPU the first values of low-rank updates stay beside them (pretrain/trainable/lora.py).
    first_values = num_low_rank(shape, training, stage) * 4 if training.device == "cpu" and size == 4 else 0
    return Memory(
        stage=stage,
        weights=num_local * size + first_values,
        masters=masters * _MASTER_BYTES if size == 2 else 0,
        gradients=num_trained * _GRADIENT_BYTES,
        moments=num_trained * _MOMENTS_BYTES // shards,
        activations=activations,
        logits=logits,
        workspace=workspace,
    )


def _hidden(shape: ModelShape, training: Training) -> int:
    """Return the values of a micro-batch's hidden state that a process holds: shared under sequence parallelism."""
    shares = training.layout.tensor if training.layout.sequence_parallel else 1
    return training.num_tokens * shape.hidden_size // shares


def _norm_bytes(
    shape: ModelShape, training: Training, *, trains: bool = True, feeds: bool = True, has_input: bool = True
) -> int:
    """Return what a norm keeps: its input and its output, which is the next linear layer's input.

    CUDA has one kernel for it. On a CPU torch composes it and keeps the normalised values too, in fp32, and in bf16 its
    input in fp32.

    Args:
        shape: The model.
        training: The layout.
        trains: Whether its weight trains, which takes the normalised values.
        feeds: Whether the layer after it, or a low-rank update of that, trains, which takes its output.
        has_input: Whether what enters it wants a gradient.
    """
    parts = {("cuda", 2): (1, 0, 1), ("cuda", 4): (1, 0, 1), ("cpu", 2): (2, 2, 1), ("cpu", 4): (1, 1, 1)}
    kept, normalised, output = parts[training.device, training.bytes_per_value]
    factor = kept * (has_input or trains) + normalised * trains + output * feeds
    return factor * _hidden(shape, training) * training.bytes_per_value


def kept_of_layer(shape: ModelShape, training: Training, layer: int = -1) -> int:
    """Return the bytes of activations that autograd keeps of one layer for one micro-batch.

    Both norms · the fused projection Q + 2K (the values are a view of it), queries and keys after rotation Q + K, the
    attention's output Q · gate and up 2F, silu F, the up half once more F, their product F · the softmax's sums, one
    for each head, and the rotation's tables. Attention scores are never kept (Dao et al. 2022, arXiv:2205.14135).

    A linear layer whose weight is frozen keeps no input, so the norms' outputs and the product F stay only where it
    trains or has a low-rank update that does; such an update keeps its R values between A and B. A layer before the
    first that trains keeps nothing.

    Args:
        shape: The model.
        training: The layout.
        layer: Which, from 0; the last one by default.
    """
    trained = trained_of(shape, training)
    layer %= shape.num_layers
    if trained.first_layer is None or layer < trained.first_layer:
        return 0
    sizes, tokens, size = shape.sizes, training.num_tokens, training.bytes_per_value
    if training.recomputes:
        return _hidden(shape, training) * size
    owns = layer in trained.layers
    updated = set(trained.lora.projections) if trained.lora and trained.trains_lora else set[str]()
    products = 3 + (shape.activation != "silu") + _keeps_product(trained, layer)
    split = (3 * sizes["Q"] + 3 * sizes["K"] + products * sizes["F"]) * size + shape.num_heads * 4
    between = len(updated) * (trained.lora.rank if trained.lora else 0) * size
    wants_input = layer > trained.first_layer or trained.num_rows > 0
    first = _norm_bytes(shape, training, trains=owns, feeds=owns or bool(updated & _QKV), has_input=wants_input)
    second = _norm_bytes(shape, training, trains=owns, feeds=owns or bool(updated & _GATE_UP))
    return first + second + tokens * (split // training.layout.tensor + between)


def _keeps_product(trained: Trained, layer: int) -> bool:
    """Say whether what enters the last projection of a layer is kept: where that trains, or has an update that does."""
    updates = trained.lora is not None and trained.trains_lora and "down_proj" in trained.lora.projections
    return updates or layer in trained.layers


def kept_of_chunk(shape: ModelShape, training: Training, stage: int) -> int:
    """Return the bytes that autograd keeps of one micro-batch in a stretch of a stage's layers: in that with most."""
    layout = training.layout
    stretches = [layout.layers(shape.num_layers, stage=stage, chunk=chunk) for chunk in range(layout.virtual)]
    layers = max(sum(kept_of_layer(shape, training, layer) for layer in layers) for layers in stretches)
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
    kept, in_flight = kept_of_chunk(shape, training, stage), _in_flight(training, stage)
    trained = trained_of(shape, training)
    rows = local_rows(shape, training) * shape.hidden_size
    table = rows * size
    # The head's gradient, until the embedding has its own.
    waiting = table if is_first and is_last and shape.is_tied else 0
    gathered = training.num_tokens * shape.hidden_size * size if layout.sequence_parallel else 0
    backward = max(_backward_of_layer(shape, training), is_last * _backward_of_last_norm(shape, training))
    moments = [(in_flight * kept, waiting, gathered + backward)]
    if is_last:
        workspace = _norm_bytes(shape, training, trains=trained.final_norm) + _around_the_loss(shape, training)
        moments.append((in_flight * kept, _logits_bytes(shape, training) + table, gathered + workspace))
    if is_first and trained.num_rows:
        hidden = _hidden(shape, training) * size
        tables = rows * _bytes_of_rows(training, trained, is_added=waiting > 0)
        moments.append(((in_flight - 1) * kept, waiting, gathered + hidden + tables))
    return moments


def _bytes_of_rows(training: Training, trained: Trained, *, is_added: bool) -> int:
    """Return what the gradient of one value of the embedding takes while it is made.

    In bf16 that of a whole table is made twice, that of new rows alone is summed in fp32 first. In fp32 it is there
    once, and once more while it is added to that of the output layer, where that is the same table.
    """
    if training.bytes_per_value == 2:
        return 4 + 2 if trained.rows == "new" else 2 + 2
    return 4 * (1 + is_added)


def _backward_of_layer(shape: ModelShape, training: Training) -> int:
    """Return what a feed-forward block's backward pass needs at once: gradients of gate and up, and of its output.

    Those of silu's input and of the product with it come on top.
    """
    size, layout = training.bytes_per_value, training.layout
    gradients = 4 * shape.ffn_size * training.num_tokens // layout.tensor + _hidden(shape, training)
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
    """Return the bytes of the block of logits: in fp32, and where that is not the training precision in that too.

    In fp32 a second block was measured where no rows train.
    """
    columns = vocab_rows(shape, training.layout.tensor)
    few = training.device == "cpu" and training.layout.tensor == 1 and training.bytes_per_value == 4
    rows = min(training.num_tokens, _CACHE_ROWS if few else max(1, _BLOCK_ELEMENTS // columns))
    if training.bytes_per_value == 4:
        return rows * columns * (4 if trained_of(shape, training).num_rows else 4 + 4)
    return rows * columns * (2 + 4)
