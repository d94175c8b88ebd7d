"""Writing trained weights as a base's own tensors: by its names, in its precision, in shards, one tensor at a time."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from pretrain.families import ModelShape
from pretrain.families.weights import EMBEDDING, HEAD
from pretrain.weights.base_weights import HuggingFaceWeights
from pretrain.weights.convert import ReadKey, hugging_face_tensors
from pretrain.weights.safetensors_writer import SafetensorsWriter, Stored

MAX_SHARD_BYTES = 5 * 2**30

type Update = Callable[[str, torch.Tensor], torch.Tensor]
"""Returns a tensor of that name with what was learned beside it."""


def write_weights(
    read: ReadKey,
    folder: Path,
    base: Path,
    shape: ModelShape,
    *,
    update: Update | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write the tensors of a base with trained values, in the memory of the largest parameter.

    Args:
        read: Gives the trained values.
        folder: Gets ``model.safetensors``, or shards and their index.
        base: The base model's folder.
        shape: Its hyperparameters.
        update: Merges what was learned beside the weights, such as LoRA.
        max_shard_bytes: Largest size of a shard; a tensor that is larger has one of its own.
    """
    source = HuggingFaceWeights(base)
    planned = {name: source.stored(name) for name in _order(source, shape)}
    values = (
        (name, tensor if update is None else update(name, tensor)) for name, tensor in _values(read, source, shape)
    )
    write_shards(folder, planned, values, max_shard_bytes=max_shard_bytes)


def write_shards(
    folder: Path,
    planned: Mapping[str, Stored],
    values: Iterable[tuple[str, torch.Tensor]],
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write tensors as ``model.safetensors``, or as shards and their index, one tensor in memory at a time.

    Args:
        folder: Where to.
        planned: How each tensor will be stored, in the order in which shards take them.
        values: The tensors, each once, in any order.
        max_shard_bytes: Largest size of a shard; a tensor that is larger has one of its own.
    """
    shards = _shards(planned, max_shard_bytes)
    home: dict[str, str] = {}
    with ExitStack() as stack:
        writers: dict[str, SafetensorsWriter] = {}
        for i, names in enumerate(shards, start=1):
            file = f"model-{i:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else "model.safetensors"
            writer = SafetensorsWriter(folder / file, {name: planned[name] for name in names})
            writers |= dict.fromkeys(names, stack.enter_context(writer))
            home |= dict.fromkeys(names, file)
        for name, tensor in values:
            writers[name].write(name, tensor)
    if len(shards) > 1:
        total = sum(tensor.num_bytes for tensor in planned.values())
        index = {"metadata": {"total_size": total}, "weight_map": home}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _order(source: HuggingFaceWeights, shape: ModelShape) -> Iterator[str]:
    """Yield the names of the base's tensors in the order of the layers."""
    for weight, layer in shape.parameters():
        yield from weight.tensors(layer)
    if _holds_tied_head(source, shape):
        yield from HEAD.sources
    yield from source.buffers


def _values(read: ReadKey, source: HuggingFaceWeights, shape: ModelShape) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in hugging_face_tensors(read, shape):
        yield name, tensor
        if name in EMBEDDING.sources and _holds_tied_head(source, shape):
            yield HEAD.sources[0], tensor
    for name in source.buffers:
        yield name, source(name)


def _holds_tied_head(source: HuggingFaceWeights, shape: ModelShape) -> bool:
    """Say whether a tied model's folder holds the head beside the embedding."""
    return shape.is_tied and HEAD.sources[0] in source.names


def _shards(planned: Mapping[str, Stored], max_bytes: int) -> Sequence[Sequence[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in planned.items():
        if size and size + tensor.num_bytes > max_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.num_bytes
    return shards
