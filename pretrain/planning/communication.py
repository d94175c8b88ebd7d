"""How many bytes every process sends in a step, by layout.

A ring all-reduce over n processes sends 2 (n - 1) / n of the tensor from each of them; all-gather and reduce-scatter
half of that (Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms). Which tensors travel: Narayanan et al.
2021 (arXiv:2104.04473) for tensor and pipeline parallelism, Korthikanti et al. 2022 (arXiv:2205.05198) for sequence
parallelism.
"""

from dataclasses import dataclass

from pretrain.families import ModelShape
from pretrain.planning.parts import Training, trained_parameters

_GRADIENT_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Bytes that the busiest process sends in one optimizer step."""

    tensor: int
    """Activations, inside every layer."""
    pipeline: int
    """Activations and their gradients, between stages."""
    data: int
    """Gradients of what is trained, once a step; with a sharded optimizer also the new weights."""
    num_calls: int
    """Collective operations of tensor parallelism: each costs latency."""


def step_traffic(shape: ModelShape, training: Training) -> Traffic:
    """Return what the process that sends most sends in a step."""
    layout, size = training.layout, training.bytes_per_value
    hidden = training.num_tokens * shape.hidden_size * size
    layers = shape.num_layers // layout.pipeline
    calls = _tensor_calls(layers, is_only_stage=layout.pipeline == 1, recomputes=training.recomputes)
    gathers = 2 * layers if layout.sequence_parallel else 0  # inputs of the two column-parallel layers, once more
    in_rings = 2 * calls + gathers
    tensor = training.num_micro_batches * in_rings * _share(layout.tensor, hidden)
    boundary = hidden // (layout.tensor if layout.sequence_parallel else 1)
    # Each stretch of layers sends both ways; of two stages one begins and the other ends, and sends one way the less.
    ways = 0 if layout.pipeline == 1 else 2 * layout.virtual - (layout.pipeline == 2)
    return Traffic(
        tensor=tensor,
        pipeline=training.num_micro_batches * ways * boundary,
        data=max(_data_bytes(shape, training, stage) for stage in (0, layout.pipeline - 1)),
        num_calls=training.num_micro_batches * (calls + gathers) if layout.tensor > 1 else 0,
    )


def _tensor_calls(layers: int, *, is_only_stage: bool, recomputes: bool) -> int:
    """Return the all-reduces of hidden states (or pairs of gather and scatter) of a micro-batch.

    Two forward and two backward in every layer, two more forward where it is recomputed; one behind the embedding, one
    in front of the output layer in the backward pass.
    """
    return (6 if recomputes else 4) * layers + (2 if is_only_stage else 1)


def _data_bytes(shape: ModelShape, training: Training, stage: int) -> int:
    num_trained, n = trained_parameters(shape, training, stage), training.data_size
    if training.shards_optimizer:
        return _share(n, num_trained * (_GRADIENT_BYTES + training.bytes_per_value))
    return 2 * _share(n, num_trained * _GRADIENT_BYTES)


def _share(processes: int, num_bytes: int) -> int:
    return num_bytes * (processes - 1) // processes
