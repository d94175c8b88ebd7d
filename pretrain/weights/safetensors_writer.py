"""Writing safetensors files one tensor at a time: neither a model nor a shard of it is ever held whole.

The format: 8 bytes of header length, a JSON header of ``name: {dtype, shape, data_offsets}``, then the data.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

DTYPES: Mapping[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""Stored types that fp32 holds exactly, by their name in a safetensors header."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How a tensor lies in a file."""

    dtype: str
    """As safetensors calls it."""
    shape: Sequence[int]

    @property
    def num_bytes(self) -> int:
        """Size of its data."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


class SafetensorsWriter:
    """One file, whose tensors are known beforehand and written in any order, each once.

    Raises:
        AssertionError: On leaving it, if a tensor was not written.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Stored]) -> None:
        header, length = _header(tensors)
        text = json.dumps({"__metadata__": {"format": "pt"}, **header}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._file = path.open("wb")
        self._file.write(struct.pack("<Q", len(text)) + text)
        self._start, self._tensors, self._header = 8 + len(text), dict(tensors), header
        self._file.truncate(self._start + length)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Write one tensor, in the type that was announced for it."""
        stored = self._tensors.pop(name)
        assert list(tensor.shape) == list(stored.shape), (name, tensor.shape, stored)
        data = tensor.to(DTYPES[stored.dtype]).contiguous().flatten().view(torch.uint8)
        self._file.seek(self._start + self._header[name]["data_offsets"][0])
        self._file.write(data.numpy().data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        assert kind is not None or not self._tensors, sorted(self._tensors)


def _header(tensors: Mapping[str, Stored]) -> tuple[dict[str, Any], int]:
    """Return a header, and the length of the data: wide types first, so that each is aligned to its own size."""
    header: dict[str, Any] = {}
    offset = 0
    for name, stored in sorted(tensors.items(), key=lambda item: -DTYPES[item[1].dtype].itemsize):
        end = offset + stored.num_bytes
        header[name] = {"dtype": stored.dtype, "shape": list(stored.shape), "data_offsets": [offset, end]}
        offset = end
    return header, offset
