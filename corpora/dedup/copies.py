"""Finding documents that are copies: those with one key, and those with one equal band of their signatures."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpora.dedup.config import DedupConfig
from corpora.dedup.equal import equal_groups, leaders
from corpora.dedup.minhash import band_dtype, band_file
from corpora.dedup.records import (
    KEY,
    NO_TASK,
    PAIR,
    Records,
    between,
    hash_range,
    joined,
    open_array,
    task_file,
    with_task,
    write_array,
)
from corpora.dedup.steps import DedupStep
from hanlm.errors import ArtifactError

_SAMPLES_PER_TASK = 64
_TASK_KEY = np.dtype([("task", "<u4"), *KEY.descr])
_FOLD = np.uint64(0x9E3779B97F4A7C15)


class BandRange(NamedTuple):
    """The signatures one task looks at: those of a band whose first hash lies in a range."""

    band: int
    first: int
    end: int


class FindExactCopies(DedupStep):
    """Pairs the documents with equal text; runs as any number of tasks.

    Args:
        folder: The dedup folder.
        num_tasks: Tasks that wrote signatures.
        runs: Index folders of earlier runs.
    """

    name = "dedup: exact copies"

    def __init__(self, folder: Path, num_tasks: int, runs: Sequence[Path] = ()) -> None:
        super().__init__(folder, num_tasks)
        self.runs = tuple(runs)

    def work(self, part: int, num_parts: int) -> None:
        """Compare the keys of one range."""
        first, end = hash_range(part, num_parts)
        known = [known_keys(run, "exact", first, end) for run in self.runs]
        pairs = _pairs(known, (exact_keys(self.folder, task, first, end) for task in range(self.num_tasks)))
        write_array(task_file(self.folder, "found/exact", part), pairs)


class FindNearCopies(DedupStep):
    """Pairs the documents with an equal band; runs as ``bands`` tasks or a multiple of that.

    It finds the pairs that ``MinhashDedupBuckets`` finds in the same files, but sorts arrays where that merges
    records through a heap in Python, which costs seventeen times as much.
    """

    name = "dedup: near copies"

    def __init__(self, folder: Path, num_tasks: int, config: DedupConfig, runs: Sequence[Path] = ()) -> None:
        super().__init__(folder, num_tasks)
        self.config, self.runs = config, tuple(runs)

    def work(self, part: int, num_parts: int) -> None:
        """Compare one band of all documents, or a range of it."""
        where = band_range(self.folder, self.config, self.num_tasks, part, num_parts)
        known = [known_keys(run, f"near-{where.band:03d}", where.first, where.end) for run in self.runs]
        pairs = _pairs(known, (band_keys(self.folder, self.config, task, where) for task in range(self.num_tasks)))
        write_array(task_file(self.folder, "found/near", part), pairs)


def exact_keys(folder: Path, task: int, first: int, end: int) -> Records:
    """Return a task's keys whose first half lies in a range, sorted, with ``task``."""
    return with_task(between(open_array(task_file(folder, "exact", task)), "high", first, end), task)


def band_keys(folder: Path, config: DedupConfig, task: int, where: BandRange) -> Records:
    """Return one band of a task's signatures as keys: its first hash, and a hash of the others."""
    found = between(_open_band(folder, config, where.band, task), "first", where.first, where.end)
    keys = np.empty(len(found), dtype=_TASK_KEY)
    keys["task"], keys["document"] = task, found["document"]
    keys["high"], keys["low"] = found["first"], _folded(found["others"])
    return keys


def known_keys(run: Path, kind: str, first: int, end: int) -> Records:
    """Return the keys of a kind that an earlier run left in the index, in a range."""
    found = [between(open_array(path), "high", first, end) for path in sorted(run.glob(f"{kind}-*.npy"))]
    keys = joined(found, np.dtype(KEY.descr[:2]))
    known = np.empty(len(keys), dtype=_TASK_KEY)
    known["high"], known["low"], known["task"], known["document"] = keys["high"], keys["low"], NO_TASK, NO_TASK
    return known


def band_range(folder: Path, config: DedupConfig, num_tasks: int, part: int, num_parts: int) -> BandRange:
    """Return which band a task looks at, and from which hash to which.

    Least hashes crowd at zero, the more the longer the documents: equal ranges would leave one task all the
    work. So the limits are quantiles of a sample of every file.
    """
    parts_per_band, rest = divmod(num_parts, config.bands)
    assert (parts_per_band > 0, rest) == (True, 0), f"expected a multiple of {config.bands} tasks, got {num_parts}"
    band, piece = divmod(part, parts_per_band)
    limits = [0, 2**64]
    if parts_per_band > 1:
        samples = [_sample(_open_band(folder, config, band, task)) for task in range(num_tasks)]
        sample = np.sort(np.concatenate(samples))
        cuts = [len(sample) * cut // parts_per_band for cut in range(1, parts_per_band)] if len(sample) else []
        limits = [0, *(int(sample[cut]) for cut in cuts), *([2**64] * (parts_per_band - len(cuts)))]
    return BandRange(band, limits[piece], limits[piece + 1])


def _pairs(known: Sequence[Records], tasks: Iterable[Records]) -> Records:
    keys = np.concatenate([*known, *tasks])
    order, begins = equal_groups(keys["high"], keys["low"])
    members = keys[order]
    first = members[leaders(begins)]
    later = ~begins & (members["task"] != NO_TASK)
    pairs = np.empty(int(later.sum()), dtype=PAIR)
    pairs["task"], pairs["document"] = first["task"][later], first["document"][later]
    pairs["other_task"], pairs["other_document"] = members["task"][later], members["document"][later]
    return pairs


def _open_band(folder: Path, config: DedupConfig, band: int, task: int) -> Records:
    path, dtype = band_file(folder, band, task), band_dtype(config.rows)
    if not path.is_file() or path.stat().st_size % dtype.itemsize:
        raise ArtifactError(
            f"{path} should hold records of {dtype.itemsize} bytes; it is missing or cut: delete its folder and run "
            "the command again."
        )
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.empty(0, dtype=dtype)


def _sample(records: Records) -> npt.NDArray[np.uint64]:
    places = np.linspace(0, len(records) - 1, min(len(records), _SAMPLES_PER_TASK)).astype(np.int64)
    return np.array(records["first"][places])


def _folded(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return one hash of each row. With the first of them it makes 125 bits, as good as comparing all."""
    value = np.zeros(len(hashes), dtype=np.uint64)
    for column in hashes.T:
        value = (value ^ column) * _FOLD
        value ^= value >> np.uint64(29)
    return value
