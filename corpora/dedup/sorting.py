"""Sorted files of any number of records in bounded memory: sorted runs are put aside, then merged range by range."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.dedup.records import GrowingArray, Records, between, hidden, open_array
from hanlm.files import fsync

type Order = Callable[[Records], npt.NDArray[np.int64]]

_SAMPLES_PER_RUN = 256


class RunMerger:
    """Writes records, given a run at a time, as one sorted file.

    Args:
        path: The file; it is seen whole or not at all.
        scratch: Folder of this file alone, for runs that are put aside; what an earlier try left there goes.
        key: The field by which the file is sorted first.
        order: Returns the indices that sort records; equal ones stay in the order given.
        has_header: Whether it is a ``.npy`` file, or bare records.
    """

    def __init__(self, path: Path, scratch: Path, key: str, order: Order, *, has_header: bool = True) -> None:
        self._path, self._scratch, self._key, self._order = path, scratch, key, order
        self._has_header, self._num_runs = has_header, 0
        shutil.rmtree(scratch, ignore_errors=True)

    def put_aside(self, records: Records) -> None:
        """Keep a run on the disk, after those before it."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        np.save(self._run(self._num_runs), records[self._order(records)], allow_pickle=False)
        self._num_runs += 1

    def close(self, last: Records) -> None:
        """Write the file out of all runs and ``last``."""
        if not self._num_runs:
            self._write(len(last), [last], last.dtype)
            return
        self.put_aside(last)
        runs = [open_array(self._run(number)) for number in range(self._num_runs)]
        self._write(sum(map(len, runs)), _by_range(runs, self._key), last.dtype)
        shutil.rmtree(self._scratch)

    def _write(self, length: int, pieces: Iterable[Records], dtype: np.dtype[Any]) -> None:
        new = hidden(self._path)
        with new.open("wb") as file:
            if self._has_header:
                description = np.lib.format.dtype_to_descr(dtype)
                header = {"descr": description, "fortran_order": False, "shape": (length,)}
                np.lib.format.write_array_header_1_0(file, header)
            for piece in pieces:
                file.write(piece[self._order(piece)].tobytes())
        fsync(new)
        new.replace(self._path)

    def _run(self, number: int) -> Path:
        return self._scratch / f"{number:05d}.npy"


class RecordSorter:
    """Collects records a few at a time and writes them sorted; holds ``max_rows`` of them in memory."""

    def __init__(self, dtype: np.dtype[Any], merger: RunMerger, max_rows: int) -> None:
        self._dtype, self._merger, self._max_rows = dtype, merger, max_rows
        self._rows = GrowingArray(dtype)

    def room(self, count: int) -> Records:
        """Return ``count`` new records, to be filled before the next call."""
        if len(self._rows.rows()) + count > self._max_rows and len(self._rows.rows()):
            self._merger.put_aside(self._rows.rows())
            self._rows = GrowingArray(self._dtype)
        return self._rows.room(count)

    def close(self) -> None:
        """Write the file."""
        self._merger.close(self._rows.rows())


def _by_range(runs: Sequence[Records], key: str) -> Iterator[Records]:
    """Yield all records of sorted runs, about a run's length at a time, in rising ranges; the runs in their order."""
    samples = [run[key][np.linspace(0, len(run) - 1, _SAMPLES_PER_RUN).astype(np.int64)] for run in runs if len(run)]
    sample = np.sort(np.concatenate(samples))
    limits = [int(sample[len(sample) * number // len(runs)]) for number in range(1, len(runs))]
    for first, end in pairwise([0, *limits, 2**64]):
        yield np.concatenate([between(run, key, first, end) for run in runs])
