"""Rows of Parquet files as records, a batch at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hanlm.errors import InputError
from hanlm.quarantine import Quarantine

_ROWS_PER_BATCH = 1024


def numbered_parquet_rows(
    path: Path, quarantine: Quarantine, required: Sequence[str] = ("text",)
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 1, row); a row whose ``required`` column is null is quarantined.

    Raises:
        InputError: If the file is damaged, or a required column is missing.
    """
    number = 0
    for rows in _batches(path, required):
        for row in rows:
            number += 1
            quarantine.num_seen += 1
            if any(row[name] is None for name in required):
                quarantine.add("null_field", path, number, repr(row).encode("utf-8", "replace"))
            else:
                yield number, row


def _batches(path: Path, required: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if missing := set(required) - set(file.schema_arrow.names):
                raise InputError(
                    f"expected a column {sorted(missing)[0]!r} in {path}, got {file.schema_arrow.names}; "
                    "rename the column that holds it."
                )
            for batch in file.iter_batches(_ROWS_PER_BATCH):
                yield batch.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is damaged or not Parquet ({error}); nothing of it is used.") from error
