"""Safetensors read and rewritten as bytes: a model's matrices get more rows without the model in memory.

The format: 8 bytes of header length, a JSON header of ``name: {dtype, shape, data_offsets}``, then the data.
"""

import json
import struct
from collections.abc import Mapping
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


def read_rows(path: Path, name: str) -> npt.NDArray[np.float32]:
    """Return a float matrix (or vector) as float32."""
    header, start = read_header(path)
    entry = header[name]
    begin, end = entry["data_offsets"]
    with path.open("rb") as file:
        file.seek(start + begin)
        raw = file.read(end - begin)
    return _decode(raw, entry["dtype"]).reshape(entry["shape"])


def with_more_rows(source: Path, target: Path, extra: Mapping[str, npt.NDArray[np.float32]], *, keep_rows: int) -> None:
    """Copy a safetensors file; of the matrices in ``extra`` the first ``keep_rows`` rows, followed by the given ones.

    Every other byte is copied as it is, in pieces.
    """
    header, start = read_header(source)
    names = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"][0])
    new_header: dict[str, Any] = {k: v for k, v in header.items() if k == "__metadata__"}
    offset, kept = 0, {n: header[n]["data_offsets"][1] - header[n]["data_offsets"][0] for n in names}
    for name in names:
        shape, dtype = list(header[name]["shape"]), header[name]["dtype"]
        size = kept[name]
        if name in extra:
            row_bytes = size // shape[0]
            kept[name] = keep_rows * row_bytes
            shape[0] = keep_rows + len(extra[name])
            size = shape[0] * row_bytes
        new_header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(new_header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as old, target.open("wb") as new:
        new.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            old.seek(start + header[name]["data_offsets"][0])
            copy_bytes(old, new, kept[name])
            if name in extra:
                new.write(_encode(extra[name], header[name]["dtype"]))


def copy_bytes(old: BinaryIO, new: BinaryIO, size: int) -> None:
    """Copy the next ``size`` bytes."""
    while size:
        chunk = old.read(min(size, _CHUNK_BYTES))
        new.write(chunk)
        size -= len(chunk)


def _decode(raw: bytes, dtype: str) -> npt.NDArray[np.float32]:
    if dtype == "BF16":
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32)


def _encode(rows: npt.NDArray[np.float32], dtype: str) -> bytes:
    if dtype == "BF16":
        bits = np.ascontiguousarray(rows).view(np.uint32)
        # Round to nearest, ties to even, as torch does.
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()
    return rows.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
