"""Slices: what one task tokenizes, a stretch of one shard; their order is the order of the tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from hanlm.artifact import Artifact
from hanlm.errors import InputError
from hanlm.streams import open_stream

SLICE_BYTES = 8 * 2**20
"""Smallest stretch of a shard, in bytes of its JSON lines: about a second's work."""

# A slice is reached by decompressing all that lies before it, unless its process has read that just now. With 8 slices
# a shard that is at most 3.5 shards at 700 MB/s for each shard encoded at 12: 6% of the time, for which 8 processes
# can work on one shard.
_MAX_SLICES_PER_SHARD = 8
_COMPRESSION = 3
"""About how many bytes of JSON lines a byte of a shard holds; the last slice takes what is left, however much."""

_SPLITS = ("train", "valid")


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
    for line in _lines(part):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{part.shard} holds a line that is no JSON ({error}); build it again.") from None
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise InputError(f"{part.shard} holds a line that is no document: {line[:60]!r}; build it again.")
        yield record  # pyright: ignore[reportUnknownVariableType]


# A slice is read on from where the one before it ended, if this process has just read that: otherwise all that lies
# before it in the shard is decompressed again. Holds at most one: the slice's file and end, and the lines after it.
_read_on: dict[tuple[Path, int], tuple[int, Iterator[tuple[int, bytes]]]] = {}


def _lines(part: Slice) -> Iterator[bytes]:
    """Yield the lines of the shard that begin at bytes ``part.begin`` to ``part.end`` - 1."""
    file = part.shard, part.shard.stat().st_mtime_ns
    before, lines = _read_on.pop(file, (0, None))
    _read_on.clear()
    if lines is None or before > part.begin:
        lines = _lines_of_shard(part.shard)
    for begin, line in lines:
        if part.end is not None and begin >= part.end:
            _read_on[file] = part.end, chain([(begin, line)], lines)
            return
        if begin >= part.begin and line.strip():
            yield line


def _lines_of_shard(shard: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line with the number of its first byte."""
    begin = 0
    with open_stream(shard) as stream:
        while line := stream.readline():
            yield begin, line
            begin += len(line)
