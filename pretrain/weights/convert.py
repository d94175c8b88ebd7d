"""Weights between Hugging Face folders and Megatron's parameters, exactly, in both directions, one at a time.

``fuse`` and ``split`` are inverse to each other on whole parameters (the layout of one process); ``cut`` takes
one tensor-parallel rank's part. Nothing here holds more than one parameter, so a model of any size is converted
in the memory of its largest.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch

from pretrain.families import Cut, Fuse, ModelShape, Weight
from pretrain.families.weights import EMBEDDING, HEAD
from pretrain.megatron.chunks import prefixes
from pretrain.parallel import Place

Read = Callable[[str], torch.Tensor]
"""Returns the Hugging Face tensor of a name."""


class ReadKey(Protocol):
    """Gives tensors of a distributed checkpoint."""

    def __call__(self, key: str, layer: int | None = None) -> torch.Tensor:
        """Return the whole tensor of a key, or one layer of it."""
        ...


def fuse(weight: Weight, parts: Sequence[torch.Tensor], shape: ModelShape, *, vocab_rows: int) -> torch.Tensor:
    """Return the whole Megatron parameter that the Hugging Face tensors make up.

    Args:
        weight: Its entry in the family's map.
        parts: The tensors of ``weight.sources``, in that order.
        shape: The model's hyperparameters.
        vocab_rows: Rows of the embedding with padding; the rows added are zero.
    """
    if weight.fuse is Fuse.QKV:
        query, key, value = parts
        groups, size = shape.num_kv_heads, shape.head_size
        stacked = [x.reshape(groups, -1, size, *x.shape[1:]) for x in (query, key, value)]
        return torch.cat(stacked, dim=1).reshape(-1, *query.shape[1:])
    if weight.fuse is Fuse.GATE_UP:
        return torch.cat(list(parts))
    if weight.fuse is Fuse.VOCAB:
        return torch.nn.functional.pad(parts[0], (0, 0, 0, vocab_rows - parts[0].shape[0]))
    return parts[0]


def split(weight: Weight, whole: torch.Tensor, shape: ModelShape) -> list[torch.Tensor]:
    """Return the Hugging Face tensors of a whole Megatron parameter, vocabulary padding stripped."""
    if weight.fuse is Fuse.QKV:
        groups, size = shape.num_kv_heads, shape.head_size
        heads_a_group = shape.num_heads // groups
        grouped = whole.reshape(groups, heads_a_group + 2, size, *whole.shape[1:])
        parts = grouped.split([heads_a_group, 1, 1], dim=1)
        return [x.reshape(-1, *whole.shape[1:]).contiguous() for x in parts]
    if weight.fuse is Fuse.GATE_UP:
        return [x.contiguous() for x in whole.chunk(2)]
    if weight.fuse is Fuse.VOCAB:
        return [whole[: shape.vocab_size].contiguous()]
    return [whole.contiguous()]


def cut(weight: Weight, whole: torch.Tensor, *, rank: int, size: int) -> torch.Tensor:
    """Return one tensor-parallel rank's part of a whole Megatron parameter."""
    if size == 1 or weight.cut is Cut.NONE:
        return whole
    if weight.cut is Cut.HALVES:
        return torch.cat([half.chunk(size)[rank] for half in whole.chunk(2)])
    return whole.chunk(size, dim=0 if weight.cut is Cut.ROWS else 1)[rank]


def local_weights(
    names: Sequence[str], read: Read, shape: ModelShape, place: Place, *, vocab_rows: int
) -> Mapping[str, torch.Tensor]:
    """Return this process's parameters by their local Megatron name, in the precision of the base.

    Each is read, fused and cut when it is asked for, and is the caller's own.

    Args:
        names: Parameter names of this process's ``Chunks``; layers are numbered from 0 in each chunk.
        read: Gives the base's tensors.
        shape: The model's hyperparameters.
        place: This process.
        vocab_rows: Rows of the embedding with padding.
    """
    return _LocalWeights(names, read, shape, place, vocab_rows)


class _LocalWeights(Mapping[str, torch.Tensor]):
    def __init__(self, names: Sequence[str], read: Read, shape: ModelShape, place: Place, vocab_rows: int) -> None:
        self._read, self._shape, self._place, self._vocab_rows = read, shape, place, vocab_rows
        self._origins: dict[str, tuple[Weight, int]] = {}
        for chunk, prefix in enumerate(prefixes(place.layout.virtual)):
            layers = place.layers(shape.num_layers, chunk)
            for weight in _with_shared_output(shape, place):
                for i, layer in enumerate(layers if weight.is_layered else (0,)):
                    for known in (weight.megatron, weight.transformer_engine):
                        if (name := prefix + known.format(i)) in names:
                            self._origins[name] = weight, layer
        assert set(names) == set(self._origins), set(names) ^ set(self._origins)

    def __getitem__(self, name: str) -> torch.Tensor:
        weight, layer = self._origins[name]
        parts = [self._read(source) for source in weight.tensors(layer)]
        whole = fuse(weight, parts, self._shape, vocab_rows=self._vocab_rows)
        return cut(weight, whole, rank=self._place.tensor_rank, size=self._place.layout.tensor).clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)


def _with_shared_output(shape: ModelShape, place: Place) -> tuple[Weight, ...]:
    """With tied weights and several stages the last stage holds a copy of the embedding as its output layer."""
    if not (shape.is_tied and place.is_last_stage and not place.is_first_stage):
        return shape.weights
    return (*shape.weights, dataclasses.replace(EMBEDDING, megatron=HEAD.megatron))


def hugging_face_tensors(read: ReadKey, shape: ModelShape) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the Hugging Face tensors of a distributed checkpoint, one parameter in memory at a time.

    Args:
        read: Gives the checkpoint's tensors.
        shape: The model's hyperparameters.
    """
    for weight, layer in shape.parameters():
        whole = read(weight.checkpoint, layer)
        yield from zip(weight.tensors(layer), split(weight, whole, shape), strict=True)
