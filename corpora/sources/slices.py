"""Slices: the parts of the input that tasks work on, so that one large file keeps many of them busy.

The slices depend on the files and the size asked for alone, never on how many workers there are; and what is read out
of a file's slices, ids and line numbers included, is what would be read out of the whole file.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, override

import orjson

from corpora.sources.formats import format_of
from corpora.sources.hub import find_hub_set, read_shard
from corpora.sources.known_sets import with_known_set
from corpora.sources.listing import list_source_files
from corpora.sources.raw_file import RawFile, named
from corpora.sources.source import Source
from hanlm.encodings import UTF8, codec_name, detect_file
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document
from hanlm.streams import MAX_LINE_BYTES, open_stream

MAX_DOCUMENT_BYTES: Final = MAX_LINE_BYTES - 2**22
"""Longest text as JSON; what is left of a line is for its labels, and for what cleaning may add."""

_MOST_JSON_BYTES: Final = 6  # of one character: an escaped control
_SHOWN_CHARS: Final = 40
_CHUNK_BYTES: Final = 2**24
# In these, the byte 0A is a line feed wherever it stands; in UTF-16 it is half of many characters.
_LINE_SAFE: Final = frozenset({UTF8, "gb18030", "big5hkscs"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One part of the input: a file, or some of its lines or row groups."""

    source: int
    """Index of its source in the configuration."""
    path: Path
    """The file; of a data set of the hub, its name with ``hf:``."""
    name: str
    """The file's path within its source."""
    start: int = 0
    """First byte of a text; first row group of a Parquet file; number of a hub data set's shard."""
    stop: int | None = None
    """Where it ends, in the same unit; None is the end of the file."""
    first_line: int = 1
    """Number of its first line or row in the file."""
    num_bytes: int
    """About how much work it is."""
    encoding: str = ""
    """Codec of a text that was cut; the file's beginning, which tells, is not in every slice."""
    version: str = ""
    """Of a data set of the hub, so that all tasks read the same, and a later try knows whether it is the same."""


def list_slices(sources: Sequence[Source], slice_bytes: int) -> list[Slice]:
    """Cut the sources into slices of about ``slice_bytes``, in a fixed order.

    Plain JSON lines, plain text whose lines are documents, and Parquet files are cut; other files are one slice each.

    Raises:
        InputError: If a path is missing, empty, of no known format, or damaged.
    """
    slices: list[Slice] = []
    for index, given in enumerate(sources):
        source = with_known_set(given)
        if source.hub_name is not None:
            found = find_hub_set(source.hub_name)
            slices += (
                Slice(
                    source=index,
                    path=source.path,
                    name=source.hub_name,
                    start=shard,
                    stop=shard + 1,
                    num_bytes=slice_bytes,  # unknown: each shard is a task of its own
                    version=found.version,
                )
                for shard in range(found.num_shards)
            )
            continue
        for path, name in list_source_files(source):
            whole = Slice(source=index, path=path, name=name, num_bytes=path.stat().st_size)
            slices += _cut(whole, source, slice_bytes)
    return _told_apart(slices, sources)


def _told_apart(slices: list[Slice], sources: Sequence[Source]) -> list[Slice]:
    """Put the folder before the names of sources that have a file's name in common: ids are made of names."""
    owners: defaultdict[str, set[int]] = defaultdict(set)
    for each in slices:
        owners[each.name].add(each.source)
    alike = {index for group in owners.values() if len(group) > 1 for index in group}
    folders = {index: _folder_name(sources[index].path) for index in sorted(alike)}
    common = Counter(folders.values())
    before = {i: name if name and common[name] == 1 else f"{name or 'input'}-{i + 1}" for i, name in folders.items()}
    return [
        replace(each, name=f"{before[each.source]}/{each.name}") if each.source in alike else each for each in slices
    ]


def _folder_name(path: Path) -> str:
    return named(path.resolve().name if path.is_dir() else path.resolve().parent.name)


def read_slice(slice: Slice, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of a slice; each record that is met is counted in ``quarantine.num_seen``.

    A document that no line of a shard could hold is quarantined, whatever format it came in: ``too_long``.

    Raises:
        InputError: If the file is truncated or damaged, or is a decompression bomb.
    """
    for document in _documents(slice, with_known_set(source), quarantine):
        if _fits_in_a_line(document.text):
            yield document
        else:
            beginning = f"{document.id}: {document.text[:_SHOWN_CHARS]}".encode()
            quarantine.add("too_long", named(str(slice.path)), slice.first_line, beginning)


def _fits_in_a_line(text: str) -> bool:
    is_short = len(text) <= MAX_DOCUMENT_BYTES // _MOST_JSON_BYTES
    return is_short or len(orjson.dumps(text)) <= MAX_DOCUMENT_BYTES


def _documents(slice: Slice, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    if source.hub_name is not None:
        yield from read_shard(source.hub_name, slice.version, slice.start, source, quarantine)
        return
    kind = format_of(slice.name, source.format)
    if kind is None:
        raise InputError(f"{slice.path} is of no known format; name its `format` in the source.")
    opener = partial(open_stream, slice.path)
    if kind.name in ("jsonl", "txt") and slice.stop is not None:
        opener = partial(_open_part, slice.path, slice.start, slice.stop)
    file = RawFile(
        label=named(str(slice.path)),
        name=slice.name,
        open=opener,
        path=slice.path,
        start=slice.start,
        stop=slice.stop,
        first_line=slice.first_line,
        encoding=slice.encoding,
    )
    yield from kind.reader()(file, source, quarantine)


def _cut(whole: Slice, source: Source, slice_bytes: int) -> list[Slice]:
    kind = format_of(whole.name, source.format)
    if kind is None or whole.num_bytes <= slice_bytes:
        return [whole]
    if kind.name == "parquet":
        return _cut_row_groups(whole, slice_bytes)
    packed = whole.path.suffix.lower() in (".gz", ".bz2", ".zst")
    if packed or not (kind.name == "jsonl" or (kind.name == "txt" and source.txt_unit == "line")):
        return [whole]
    encoding = codec_name(source.encoding) if source.encoding else detect_file(whole.path)
    return _cut_lines(replace(whole, encoding=encoding), slice_bytes) if encoding in _LINE_SAFE else [whole]


def _cut_lines(whole: Slice, slice_bytes: int) -> list[Slice]:
    """Cut after the first line end at or behind every ``slice_bytes``."""
    slices: list[Slice] = []
    start = position = 0
    first = line = 1
    with whole.path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            cut = 0
            while (end := chunk.find(b"\n", max(start + slice_bytes - position - 1, cut))) >= 0:
                line += chunk.count(b"\n", cut, end + 1)
                cut = end + 1
                slices.append(_lines(whole, start, position + cut, first))
                start, first = position + cut, line
            line += chunk.count(b"\n", cut)
            position += len(chunk)
    return [*slices, _lines(whole, start, position, first)] if start < position else slices


def _lines(whole: Slice, start: int, stop: int, first_line: int) -> Slice:
    return replace(whole, start=start, stop=stop, first_line=first_line, num_bytes=stop - start)


def _cut_row_groups(whole: Slice, slice_bytes: int) -> list[Slice]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(whole.path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{whole.path} is damaged or not Parquet ({error}); nothing of it is used.") from error
    slices: list[Slice] = []
    start = num_bytes = 0
    first = row = 1
    for group in range(metadata.num_row_groups):
        row += metadata.row_group(group).num_rows
        num_bytes += metadata.row_group(group).total_byte_size
        if num_bytes >= slice_bytes or group + 1 == metadata.num_row_groups:
            slices.append(replace(whole, start=start, stop=group + 1, first_line=first, num_bytes=num_bytes))
            start, num_bytes, first = group + 1, 0, row
    return slices or [whole]


class _Part(io.RawIOBase):
    """The bytes of a file up to a place in it."""

    def __init__(self, file: BinaryIO, num_bytes: int) -> None:
        self._file, self._left = file, num_bytes

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int:
        raw = self._file.read(min(len(buffer), self._left))
        buffer[: len(raw)] = raw
        self._left -= len(raw)
        return len(raw)


@contextmanager
def _open_part(path: Path, start: int, stop: int) -> Generator[BinaryIO]:
    with open_stream(path) as file:
        file.seek(start)
        yield io.BufferedReader(_Part(file, stop - start), 2**20)  # pyright: ignore[reportArgumentType]
