"""The tensors of a base model's folder: checked by their headers before anything is loaded, then read one by one."""

import re
from pathlib import Path

import torch

from hanlm.errors import InputError
from pretrain.families import ModelShape
from pretrain.weights.safetensors_writer import DTYPES, Stored

_BUFFERS = re.compile(r".*\.rotary_emb\.inv_freq")
"""Tensors that old conversions hold though nothing reads them: they come back as they were."""
_HEAD = "lm_head.weight"
"""A tied model may hold it beside the embedding."""


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

    @property
    def buffers(self) -> list[str]:
        """Names of the tensors that are no weights."""
        return [name for name in self._home if _BUFFERS.fullmatch(name)]

    def check(self, shape: ModelShape) -> None:
        """Compare what the files' headers say with what ``config.json`` asks for.

        Raises:
            InputError: If a tensor is missing, unknown, quantised or of another size.
        """
        known = {*self.buffers, *([_HEAD] if shape.is_tied else [])}
        for weight, layer in shape.parameters():
            for name, axes in zip(weight.tensors(layer), weight.axes, strict=True):
                self._check(name, [shape.sizes[axis] for axis in axes])
                known.add(name)
        if unknown := sorted(self._home.keys() - known):
            raise InputError(
                f"{self._model} holds {len(unknown)} tensors that a {shape.family} model of its config.json does not "
                f"have, such as {unknown[0]}; pretraining would lose them: choose a base that is one plain model."
            )

    def _check(self, name: str, size: list[int]) -> None:
        if name not in self._home:
            raise InputError(f"{self._model} lacks the tensor {name}; expected a complete model folder.")
        stored = self.stored(name)
        if (got := list(stored.shape)) != size:
            raise InputError(
                f"{self._model}: expected {name} of shape {size} after config.json, got {got}; "
                "restore the folder from its source."
            )
        if stored.dtype not in DTYPES:
            raise InputError(
                f"{self._model} holds {name} as {stored.dtype}; pretraining expects {', '.join(DTYPES)}: pass the "
                "folder it was quantised from, or convert it."
            )

    def stored(self, name: str) -> Stored:
        """Return how a tensor is stored, without reading it."""
        header = self._home[name].get_slice(name)
        return Stored(header.get_dtype(), header.get_shape())

    def __call__(self, name: str) -> torch.Tensor:
        """Return one tensor."""
        return self._home[name].get_tensor(name)
