"""What one task of the first pass writes down of its documents, for every kind of deduplication at once."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from corpora.dedup import kernels
from corpora.dedup.config import DedupConfig
from corpora.dedup.letters import code_points, folded_letters
from corpora.dedup.minhash import MinhashWriter
from corpora.dedup.records import KEY, PLACE, Records, RepeatKind, scratch_folder, task_file
from corpora.dedup.sorting import RecordSorter, RunMerger
from corpora.facts import Facts

_HALF = 2**64


class SignatureWriter:
    """Signatures of the documents of one task, which are numbered in the order they are added.

    Holds no more than about 200 MB, however long the task is: what is more waits in sorted runs on the disk.

    Args:
        folder: The working folder of deduplication; all tasks write into it.
        task: Number of the task.
        config: Says which kinds are wanted. Exact keys are always written: the index of a run consists of them.
        max_rows: Records of a kind that are held in memory.
    """

    def __init__(self, folder: Path, task: int, config: DedupConfig, max_rows: int = 1 << 20) -> None:
        self._config, self._num_documents = config, 0
        scratch = scratch_folder(folder, task)
        exact = RunMerger(task_file(folder, "exact", task), scratch / "exact", "high", _order_keys)
        self._keys = RecordSorter(KEY, exact, max_rows)
        # A signature is 32 times as large as other records.
        self._near = MinhashWriter(folder, task, config, max(1, max_rows // 32)) if config.near else None
        self._places: dict[RepeatKind, RecordSorter] = {}
        wanted: dict[RepeatKind, bool] = {"lines": config.lines, "substrings": config.substrings}
        for kind, is_wanted in wanted.items():
            if is_wanted:
                merger = RunMerger(task_file(folder, kind, task), scratch / kind, "hash", _order_places)
                self._places[kind] = RecordSorter(PLACE, merger, max_rows)

    def add(self, facts: Facts) -> None:
        """Take in the next document that the filters kept."""
        document = self._num_documents
        self._num_documents += 1
        digest = xxhash.xxh3_128_intdigest(facts.text.encode("utf-8", "surrogatepass"))
        self._keys.room(1)[0] = (*divmod(digest, _HALF), document)
        if self._near:
            self._near.add(document, facts)
        if self._places:
            points = code_points(facts.text)
            for kind, places in self._places.items():
                found = (_lines if kind == "lines" else _windows)(points, self._config)
                rows = places.room(len(found[0]))
                rows["hash"], rows["position"], rows["length"] = found
                rows["document"] = document

    def close(self) -> None:
        """Sort and write everything; an interrupted task leaves no file that counts."""
        for places in self._places.values():
            places.close()
        if self._near:
            self._near.close()
        self._keys.close()


def _order_keys(keys: Records) -> npt.NDArray[np.int64]:
    return np.lexsort((keys["low"], keys["high"]))


def _order_places(places: Records) -> npt.NDArray[np.int64]:
    """Return the order of hashes; equal ones stay in the order of the text."""
    return np.argsort(places["hash"], kind="stable")


def _lines(points: npt.NDArray[np.uint32], config: DedupConfig) -> tuple[npt.NDArray[Any], ...]:
    """Return hash, position and length of the lines with enough letters."""
    room = len(points) // config.min_line_letters + 1
    hashes, positions, lengths = np.empty(room, np.uint64), np.empty(room, np.uint32), np.empty(room, np.uint32)
    count = kernels.line_hashes(points, folded_letters(), config.min_line_letters, hashes, positions, lengths)
    return hashes[:count], positions[:count], lengths[:count]


def _windows(points: npt.NDArray[np.uint32], config: DedupConfig) -> tuple[npt.NDArray[Any], ...]:
    """Return hash, position and length of the windows that winnowing chooses."""
    hashes, chosen = np.empty(len(points), np.uint64), np.empty(len(points), np.uint32)
    count = kernels.winnow(points, config.window, config.winnow, hashes, chosen)
    positions = chosen[:count]
    return hashes[positions], positions, np.full(count, config.window, dtype=np.uint32)
