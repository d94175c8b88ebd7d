"""Parts joined in order to the files of a tokens artifact: the same bytes as one process would have written."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.tokens.part import Part
from hanlm.errors import InputError
from hanlm.token_writer import DOCUMENTS, free_prefix
from hanlm.tokens import TokenSet, read_index, write_index

_BUFFER_BYTES = 2**22
_SUMS = ("num_documents", "num_tokens", "num_bytes")


@dataclass(slots=True)
class _Joined:
    """A data set that is being joined."""

    entry: dict[str, Any]
    """As in the manifest."""
    sources: list[Path] = field(default_factory=list[Path])
    """The prefixes it is made of, in order."""


def join_parts(parts: Sequence[Part], folder: Path) -> list[dict[str, Any]]:
    """Write the data sets and the table of documents into ``folder``; return the manifest's ``datasets``.

    megatron-core's ``IndexedDatasetBuilder.add_index`` gives the same bytes (a test compares), but holds two Python
    objects a document and goes through them in a loop.

    Raises:
        InputError: If the parts hold no document, or do not read back from what was written.
    """
    joined: dict[tuple[str, str, str], _Joined] = {}
    table = _Table(folder / DOCUMENTS)
    with table:
        for part in parts:
            offsets: dict[str, tuple[str, int]] = {}
            for entry in part.datasets:
                into = _joined(joined, entry)
                offsets[entry["prefix"]] = into.entry["prefix"], into.entry["num_documents"]
                into.sources.append(part.folder / entry["prefix"])
                for key in _SUMS:
                    into.entry[key] += entry[key]
            if offsets:
                table.add(part.folder / DOCUMENTS, offsets)
    if not joined:
        raise InputError("expected at least one document to tokenize, got none; check the corpus and its filters.")
    for each in joined.values():
        _join(each, folder / each.entry["prefix"])
        _verify(each, folder / each.entry["prefix"])
    return [each.entry for each in joined.values()]


def _joined(joined: dict[tuple[str, str, str], _Joined], entry: dict[str, Any]) -> _Joined:
    key = entry["split"], entry["domain"], entry["lang"]
    if key not in joined:
        prefix = free_prefix(*key, {each.entry["prefix"] for each in joined.values()})
        joined[key] = _Joined(entry | {"prefix": prefix} | dict.fromkeys(_SUMS, 0))
    return joined[key]


def _join(joined: _Joined, prefix: Path) -> None:
    """Concatenate the ``.bin`` files, and write one index over all documents."""
    lengths: list[NDArray[np.int32]] = []
    with prefix.with_name(prefix.name + ".bin").open("wb") as out:
        for source in joined.sources:
            lengths.append(read_index(source)[0])
            with source.with_name(source.name + ".bin").open("rb") as file:
                shutil.copyfileobj(file, out, _BUFFER_BYTES)
    write_index(prefix, np.concatenate(lengths), read_index(joined.sources[0])[1])


def _verify(joined: _Joined, prefix: Path) -> None:
    """Open what was joined as training will, count it, and compare each part's first and last document."""
    whole = TokenSet(path=prefix, **{k: v for k, v in joined.entry.items() if k != "prefix"}).open()
    begin = 0
    for source in joined.sources:
        part = TokenSet(path=source, **{k: v for k, v in joined.entry.items() if k != "prefix"}).open()
        for index in (0, len(part) - 1):
            if not np.array_equal(whole[begin + index], part[index]):
                raise InputError(
                    f"document {begin + index} of {prefix} is not that of its part; run the command again."
                )
        begin += len(part)
    counted = int(whole.sequence_lengths.sum(dtype=np.int64))
    if (begin, counted) != (len(whole), joined.entry["num_tokens"]):
        raise InputError(
            f"expected {joined.entry['num_tokens']} tokens of {begin} documents in {prefix}, got {counted} of "
            f"{len(whole)}; run the command again."
        )


class _Table:
    """The joined table of documents; a row group for each of a part's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, path: Path, offsets: dict[str, tuple[str, int]]) -> None:
        """Append a part's table; ``offsets`` has the new prefix of each prefix, and how many documents it held."""
        import pyarrow.parquet as pq

        for batch in _row_groups(path):
            moved = _moved(batch, offsets)
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._path, moved.schema)
            self._writer.write_table(moved)


def _row_groups(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def _moved(table: Any, offsets: dict[str, tuple[str, int]]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    prefixes = list(offsets)
    place = pc.index_in(table["prefix"], pa.array(prefixes))  # pyright: ignore[reportAttributeAccessIssue]
    new = pa.array([offsets[prefix][0] for prefix in prefixes]).take(place.combine_chunks())
    shift = pa.array([offsets[prefix][1] for prefix in prefixes]).take(place.combine_chunks())
    index = pc.add(table["index"], shift)  # pyright: ignore[reportAttributeAccessIssue]
    table = table.set_column(table.schema.get_field_index("prefix"), "prefix", new)
    return table.set_column(table.schema.get_field_index("index"), "index", index)
