"""Weights between Hugging Face folders and Megatron's parameters, exactly, in both directions.

``fuse`` and ``split`` are inverse to each other on whole parameters (the layout of one process); ``cut`` takes
one tensor-parallel rank's part. Shapes: V vocabulary, D hidden size, G key-value groups, Q queries a group,
K head size, F feed-forward size.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from hanlm.errors import InputError
from pretrain.families import Cut, Fuse, ModelShape, Weight
from pretrain.parallel import Place

Read = Callable[[str], torch.Tensor]
"""Returns the Hugging Face tensor of a name."""


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
        stacked = [x.reshape(groups, -1, size, x.shape[-1]) for x in (query, key, value)]
        return torch.cat(stacked, dim=1).reshape(-1, query.shape[-1])
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
        grouped = whole.reshape(groups, heads_a_group + 2, size, whole.shape[-1])
        parts = grouped.split([heads_a_group, 1, 1], dim=1)
        return [x.reshape(-1, whole.shape[-1]).contiguous() for x in parts]
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

    Args:
        names: Parameter names of this process's ``GPTModel``; layers are numbered from 0 on every stage.
        read: Gives the base's tensors.
        shape: The model's hyperparameters.
        place: This process.
        vocab_rows: Rows of the embedding with padding.
    """
    first_layer = place.pipeline_rank * (shape.num_layers // place.layout.pipeline)
    wanted = set(names)
    found: dict[str, torch.Tensor] = {}
    for weight in _with_shared_output(shape, place):
        layers = range(shape.num_layers // place.layout.pipeline) if weight.is_layered else (0,)
        for layer in layers:
            if (name := weight.megatron.format(layer)) in wanted:
                parts = [read(source.format(first_layer + layer)) for source in weight.sources]
                whole = fuse(weight, parts, shape, vocab_rows=vocab_rows)
                found[name] = cut(weight, whole, rank=place.tensor_rank, size=place.layout.tensor).clone()
    assert wanted == set(found), wanted ^ set(found)
    return found


def _with_shared_output(shape: ModelShape, place: Place) -> tuple[Weight, ...]:
    """With tied weights and several stages the last stage holds a copy of the embedding as its output layer."""
    if not (shape.is_tied and place.is_last_stage and not place.is_first_stage):
        return shape.weights
    embedding = shape.weights[0]
    return (*shape.weights, dataclasses.replace(embedding, megatron="output_layer.weight"))


class HuggingFaceWeights:
    """Reads single tensors out of a model folder's safetensors files, however many there are."""

    def __init__(self, model: Path) -> None:
        from safetensors import safe_open

        self._files = [safe_open(str(file), framework="pt") for file in sorted(model.glob("*.safetensors"))]
        self._home = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118
        self._model = model

    @property
    def names(self) -> list[str]:
        """Names of all tensors in the folder."""
        return list(self._home)

    def check(self, shape: ModelShape) -> None:
        """Compare what the files' headers say with what ``config.json`` asks for.

        Raises:
            InputError: If a tensor is missing or of another size.
        """
        for weight in shape.weights:
            for layer in range(shape.num_layers if weight.is_layered else 1):
                for source, axes in zip(weight.sources, weight.axes, strict=True):
                    self._check(source.format(layer), [shape.sizes[axis] for axis in axes])

    def _check(self, name: str, size: list[int]) -> None:
        if name not in self._home:
            raise InputError(f"{self._model} lacks the tensor {name}; expected a complete LLaMA-family model folder.")
        if (got := self._home[name].get_slice(name).get_shape()) != size:
            raise InputError(
                f"{self._model}: expected {name} of shape {size} after config.json, got {got}; "
                "restore the folder from its source."
            )

    def __call__(self, name: str) -> torch.Tensor:
        """Return one tensor."""
        return self._home[name].get_tensor(name)


def hugging_face_weights(read_whole: Read, shape: ModelShape, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return Hugging Face tensors out of a distributed checkpoint.

    Args:
        read_whole: Gives the whole tensor of a checkpoint key; layered ones are [layers, ...].
        shape: The model's hyperparameters.
        names: The tensors wanted, as the base has them (a tied model may hold its head twice).
    """
    found: dict[str, torch.Tensor] = {}
    for weight in shape.weights:
        whole = read_whole(weight.checkpoint)
        for layer, part in enumerate(whole if weight.is_layered else [whole]):
            sources = [source.format(layer) for source in weight.sources]
            found.update(zip(sources, split(weight, part, shape), strict=True))
    if shape.is_tied and "lm_head.weight" in names:
        found["lm_head.weight"] = found["model.embed_tokens.weight"].clone()
    if missing := set(names) - set(found):
        raise InputError(f"the base holds tensors that its family does not know: {', '.join(sorted(missing)[:3])}.")
    return {name: found[name] for name in names}
