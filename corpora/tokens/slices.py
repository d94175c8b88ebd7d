"""Slices: what one task tokenizes, a stretch of one shard; their order is the order of the tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from hanlm.artifact import Artifact
from hanlm.errors import InputError
from hanlm.streams import open_stream

SLICE_BYTES = 8 * 2**20
"""Smallest stretch of a shard, in bytes of its JSON lines: about a second's work."""

# A slice is reached by decompressing all that lies before it. With 8 slices a shard that is 3.5 shards of 700 MB/s
# for each shard encoded at 15 MB/s: 8% of the time, for which 8 processes can work on one shard.
_MAX_SLICES_PER_SHARD = 8
_COMPRESSION = 3
"""About how many bytes of JSON lines a byte of a shard holds; the last slice takes what is left, however much."""

_SPLITS = ("train", "valid")
_BUFFER_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """The lines of one shard that begin in a stretch of its uncompressed bytes."""

    shard: Path
    split: str
    begin: int = 0
    """First byte of the stretch."""
    end: int | None = None
    """First byte after it; None goes to the end of the shard."""


def slices_of(corpora: Sequence[Artifact]) -> list[Slice]:
    """Return all that is to be tokenized, in order; it depends on the corpora alone, never on who works on it."""
    return [
        each
        for corpus in corpora
        for split in _SPLITS
        for name in sorted(corpus.manifest["files"])
        if name.startswith(f"{split}-")
        for each in _cut(corpus.path.resolve() / name, split, corpus.manifest["files"][name]["num_bytes"])
    ]


def _cut(shard: Path, split: str, num_bytes: int) -> list[Slice]:
    expected = num_bytes * _COMPRESSION
    number = max(1, min(expected // SLICE_BYTES, _MAX_SLICES_PER_SHARD))
    size = -(-expected // number)
    return [
        Slice(shard=shard, split=split, begin=i * size, end=(i + 1) * size if i + 1 < number else None)
        for i in range(number)
    ]


def read_slice(part: Slice) -> Iterator[dict[str, Any]]:
    """Yield the records of a slice, as ``hanlm corpus build`` wrote them.

    Raises:
        InputError: If the shard is truncated, or a line is no record: HanLM wrote them itself, not one may be bad.
    """
    with open_stream(part.shard) as stream:
        for line in _lines(stream, part.begin, part.end):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InputError(f"{part.shard} holds a line that is no JSON ({error}); build it again.") from None
            if not isinstance(record, dict) or not isinstance(record.get("text"), str):
                raise InputError(f"{part.shard} holds a line that is no document: {line[:60]!r}; build it again.")
            yield record  # pyright: ignore[reportUnknownVariableType]


def _lines(stream: BinaryIO, begin: int, end: int | None) -> Iterator[bytes]:
    """Yield the lines that begin at bytes ``begin`` to ``end`` - 1 of a stream."""
    position = 0
    if begin:
        while position < begin - 1:
            skipped = len(stream.read(min(_BUFFER_BYTES, begin - 1 - position)))
            if not skipped:
                return
            position += skipped
        position += len(stream.readline())  # the rest of a line that began before, or the very end of one
    while end is None or position < end:
        line = stream.readline()
        if not line:
            return
        position += len(line)
        if line.strip():
            yield line
