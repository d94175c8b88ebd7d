"""Safetensors read and rewritten as bytes: a model's matrices lose and get rows without the model in memory.

The format: 8 bytes of header length, a JSON header of ``name: {dtype, shape, data_offsets}``, then the data.
"""

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from hanlm.errors import InputError

FLOAT_BYTES: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Stored types whose rows can be computed with; integers and 8-bit floats are quantised weights."""

_CHUNK_BYTES = 1 << 24


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return a file's header and where its data begins.

    Raises:
        InputError: If it is not a whole safetensors file.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("the header is longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if 8 + length + max(ends, default=0) != path.stat().st_size:
            raise ValueError("its size does not fit its header")
    except (ValueError, KeyError, struct.error) as error:
        raise InputError(f"{path} is truncated or no safetensors file ({error}); fetch it again.") from None
    return header, 8 + length


def num_bytes(entry: Mapping[str, Any]) -> int:
    """Return the size of what an entry of a header describes."""
    begin, end = entry["data_offsets"]
    return end - begin


class StoredRows:
    """A float matrix (or vector) in a file, whose rows are read and decoded when they are asked for."""

    def __init__(self, path: Path, name: str) -> None:
        """Map the matrix's bytes; nothing is read yet."""
        header, start = read_header(path)
        entry = header[name]
        self.shape: tuple[int, ...] = tuple(entry["shape"])
        self._dtype: str = entry["dtype"]
        stored = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}[self._dtype]
        self._rows = np.memmap(path, stored, "r", start + entry["data_offsets"][0], self.shape)

    def __getitem__(self, rows: Sequence[int] | slice) -> npt.NDArray[np.float32]:
        """Return rows as float32, ``[n, ...]``."""
        return _decode(np.ascontiguousarray(self._rows[rows]), self._dtype)

    def blocks(self, num_rows: int) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the first ``num_rows`` rows, some megabytes at a time."""
        step = max(1, _CHUNK_BYTES // max(4, 4 * math.prod(self.shape[1:])))
        for start in range(0, num_rows, step):
            yield self[start : min(start + step, num_rows)]


@dataclass(frozen=True, slots=True)
class MoreRows:
    """Rows to append, made while they are written."""

    num_rows: int = 0
    blocks: Iterable[npt.NDArray[np.float32]] = ()
    """Together ``num_rows`` rows."""


def with_rows(source: Path, target: Path, kept: Sequence[int], more: Mapping[str, MoreRows]) -> None:
    """Copy a safetensors file; of the matrices in ``more`` the rows in ``kept``, in that order, then the given ones.

    Every byte that stays is copied as it is, in pieces.
    """
    header, start = read_header(source)
    names = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"][0])
    new_header: dict[str, Any] = {k: v for k, v in header.items() if k == "__metadata__"}
    offset = 0
    for name in names:
        shape, size = header[name]["shape"], num_bytes(header[name])
        if name in more:
            num_rows = len(kept) + more[name].num_rows
            shape, size = [num_rows, *shape[1:]], num_rows * _row_bytes(header[name])
        new_header[name] = {"dtype": header[name]["dtype"], "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(new_header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as old, target.open("wb") as new:
        new.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            begin = start + header[name]["data_offsets"][0]
            if name not in more:
                _copy(old, new, begin, num_bytes(header[name]))
                continue
            row_bytes = _row_bytes(header[name])
            for first, count in _runs(kept):
                _copy(old, new, begin + first * row_bytes, count * row_bytes)
            for rows in more[name].blocks:
                new.write(_encode(rows, header[name]["dtype"]))


def overwrite_rows(path: Path, name: str, first_row: int, rows: npt.NDArray[np.float32]) -> None:
    """Replace rows of a matrix from ``first_row`` on, in place, in the type that is stored."""
    header, start = read_header(path)
    entry = header[name]
    with path.open("r+b") as file:
        file.seek(start + entry["data_offsets"][0] + first_row * _row_bytes(entry))
        file.write(_encode(rows, entry["dtype"]))


def _row_bytes(entry: Mapping[str, Any]) -> int:
    return num_bytes(entry) // entry["shape"][0]


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the number of rows that follow each other."""
    for _, group in groupby(enumerate(rows), lambda place_and_row: place_and_row[1] - place_and_row[0]):
        run = [row for _, row in group]
        yield run[0], len(run)


def _copy(old: BinaryIO, new: BinaryIO, begin: int, size: int) -> None:
    old.seek(begin)
    while size:
        chunk = old.read(min(size, _CHUNK_BYTES))
        new.write(chunk)
        size -= len(chunk)


def _decode(stored: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    if dtype == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def _encode(rows: npt.NDArray[np.float32], dtype: str) -> bytes:
    if dtype == "BF16":
        bits = np.ascontiguousarray(rows).view(np.uint32)
        # Round to nearest, ties to even, as torch does.
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()
    return rows.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
