"""Rows of Parquet and Arrow files as records, a batch at a time; a row that cannot be read is quarantined alone."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from hanlm.quarantine import Quarantine

ROWS_PER_BATCH: Final = 1024
"""Rows that are held as Python values at a time."""

_ARROW_FILE_MAGIC = b"ARROW1"


def numbered_rows(
    batches: Iterable[Any], source: Path | str, quarantine: Quarantine, *, first_row: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number, row) of record batches; a row with text that is not UTF-8 is quarantined."""
    number = first_row - 1
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_PER_BATCH):
            for row in _rows(batch.slice(start, ROWS_PER_BATCH)):
                number += 1
                quarantine.num_seen += 1
                if isinstance(row, dict):
                    yield number, row
                else:
                    quarantine.add("invalid_utf8", source, number, row)


def numbered_parquet_rows(
    path: Path, quarantine: Quarantine, required: Sequence[str] = ("text",)
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 1, row); a row whose ``required`` column is null is quarantined.

    Raises:
        InputError: If the file is damaged, or a required column is missing.
    """
    for number, row in numbered_rows(_with_columns(parquet_batches(path, path), path, required), path, quarantine):
        if any(row[name] is None for name in required):
            quarantine.add("null_field", path, number, repr(row).encode("utf-8", "replace"))
        else:
            yield number, row


def parquet_batches(file: Any, name: Path | str, start: int = 0, stop: int | None = None) -> Iterator[Any]:
    """Yield the record batches of a Parquet file's row groups from ``start`` up to ``stop``.

    Args:
        file: Its path, or a seekable stream.
        name: What errors call it.

    Raises:
        InputError: If it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            groups = list(range(table.num_row_groups))[start:stop]
            yield from table.iter_batches(ROWS_PER_BATCH, row_groups=groups)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{name} is damaged or not Parquet ({error}); nothing of it is used.") from error


def arrow_batches(file: Any, name: Path | str) -> Iterator[Any]:
    """Yield the record batches of an Arrow file or stream, given by its path (mapped into memory) or a seekable stream.

    Raises:
        InputError: If it is damaged.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(file)) if isinstance(file, Path) else pa.PythonFile(file, mode="r") as mapped:
            head = mapped.read(len(_ARROW_FILE_MAGIC))
            mapped.seek(0)
            if head == _ARROW_FILE_MAGIC:
                table = pa.ipc.open_file(mapped)
                yield from (table.get_batch(i) for i in range(table.num_record_batches))
            else:
                with pa.ipc.open_stream(mapped) as stream:
                    yield from stream
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name} is damaged or not Arrow ({error}); nothing of it is used.") from error


def _with_columns(batches: Iterator[Any], path: Path, required: Sequence[str]) -> Iterator[Any]:
    for batch in batches:
        if missing := set(required) - set(batch.schema.names):
            raise InputError(
                f"expected a column {sorted(missing)[0]!r} in {path}, got {batch.schema.names}; "
                "rename the column that holds it."
            )
        yield batch


def _rows(batch: Any) -> Iterator[dict[str, Any] | bytes]:
    """Yield the rows; instead of one that is not UTF-8, how it complains."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for i in range(batch.num_rows):
            try:
                (row,) = batch.slice(i, 1).to_pylist()
            except UnicodeDecodeError as error:
                row = error.object[:200]
            yield row
