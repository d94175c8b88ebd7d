"""The files between the steps of deduplication: NumPy arrays of records, sorted by their first field.

A step that looks at a part of the hashes finds them in every task's file by bisection and reads no more. So a
task writes one file of a kind, however many parts the finding is cut into. Tasks write to a hidden name and
rename, so a killed task leaves nothing that another could take for whole.
"""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from hanlm.errors import ArtifactError
from hanlm.files import fsync

type Records = npt.NDArray[np.void]
type RepeatKind = Literal["lines", "substrings"]

NO_TASK: Final = 2**32 - 1
"""Stands for the task and the document of what lies in the index of an earlier run."""

KEY: Final = np.dtype([("high", "<u8"), ("low", "<u8"), ("document", "<u4")])
"""128 bits of a document's identity, by which equal ones are found."""
PLACE: Final = np.dtype([("hash", "<u8"), ("document", "<u4"), ("position", "<u4"), ("length", "<u4")])
"""A line or a window of characters: where it stands in its task."""
PAIR: Final = np.dtype([("task", "<u4"), ("document", "<u4"), ("other_task", "<u4"), ("other_document", "<u4")])
"""A document, and a later one that is its copy."""
MATCH: Final = np.dtype(
    [
        ("task", "<u4"),
        ("document", "<u4"),
        ("start", "<u4"),
        ("end", "<u4"),
        ("source_task", "<u4"),
        ("source_document", "<u4"),
        ("source_start", "<u4"),
        ("source_end", "<u4"),
    ]
)
"""Characters of a document, and the earlier ones that they repeat."""
REMOVAL: Final = np.dtype([("document", "<u4"), ("reason", "u1"), ("copy_task", "<u4"), ("copy_document", "<u4")])
"""A document that goes, why, and the one that stays in its place."""


def task_file(folder: Path, kind: str, task: int) -> Path:
    """Return the path of a task's records."""
    return folder / kind / f"{task:05d}.npy"


def scratch_folder(folder: Path, task: int) -> Path:
    """Return where a task may put things aside until it is done."""
    return folder / "scratch" / f"{task:05d}"


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array so that it is seen whole or not at all."""
    new = hidden(path)
    with new.open("wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    fsync(new)
    new.replace(path)


def hidden(path: Path) -> Path:
    """Return the name under which a file is written before it is whole; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.new")


def open_array(path: Path) -> Records:
    """Map an array; only what is looked at is read.

    Raises:
        ArtifactError: If the file is missing, cut or not an array.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); delete its folder and run the command again.") from error


def between(records: Records, field: str, first: int, end: int) -> Records:
    """Return the records, sorted by ``field``, whose value is at least ``first`` and less than ``end``."""

    def value(record: Any) -> int:
        return int(record[field])

    low = bisect_left(records, first, key=value)  # pyright: ignore[reportArgumentType]
    high = bisect_left(records, end, lo=low, key=value)  # pyright: ignore[reportArgumentType]
    return np.array(records[low:high])


def hash_range(part: int, num_parts: int) -> tuple[int, int]:
    """Return the ``part``-th of equal ranges of 64-bit hashes."""
    return part * 2**64 // num_parts, (part + 1) * 2**64 // num_parts


def joined(arrays: Sequence[npt.NDArray[Any]], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Concatenate; of no arrays an empty one."""
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)


def with_task(records: Records, task: int) -> Records:
    """Return the records with the field ``task`` before the others."""
    described: Any = records.dtype.descr
    wide = np.empty(len(records), dtype=[("task", "<u4"), *described])
    wide["task"] = task
    for name in records.dtype.names or ():
        wide[name] = records[name]
    return wide


class GrowingArray:
    """Rows that are added a few at a time: doubles its room when that is full."""

    def __init__(self, dtype: Any, shape: tuple[int, ...] = ()) -> None:
        self._rows = np.empty((1024, *shape), dtype=dtype)
        self._length = 0

    def room(self, count: int) -> npt.NDArray[Any]:
        """Return ``count`` new rows to be filled at once."""
        needed = self._length + count
        if needed > len(self._rows):
            grown = np.empty((max(needed, 2 * len(self._rows)), *self._rows.shape[1:]), dtype=self._rows.dtype)
            grown[: self._length] = self._rows[: self._length]
            self._rows = grown
        rows = self._rows[self._length : needed]
        self._length = needed
        return rows

    def rows(self) -> npt.NDArray[Any]:
        """Return all rows."""
        return self._rows[: self._length]
