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
from corpora.dedup.records import KEY, PLACE, GrowingArray, RepeatKind, task_file, write_array
from corpora.facts import Facts

_HALF = 2**64


class SignatureWriter:
    """Signatures of the documents of one task, which are numbered in the order they are added.

    Memory: about 1 kB a document and 0.3 bytes a byte of text, so a task should read no more than a gigabyte.

    Args:
        folder: The working folder of deduplication; all tasks write into it.
        task: Number of the task.
        config: Says which kinds are wanted. Exact keys are always written: the index of a run consists of them.
    """

    def __init__(self, folder: Path, task: int, config: DedupConfig) -> None:
        self._folder, self._task, self._config = folder, task, config
        self._keys = GrowingArray(KEY)
        self._near = MinhashWriter(folder, task, config) if config.near else None
        self._places: dict[RepeatKind, GrowingArray] = {}
        if config.lines:
            self._places["lines"] = GrowingArray(PLACE)
        if config.substrings:
            self._places["substrings"] = GrowingArray(PLACE)

    def add(self, facts: Facts) -> None:
        """Take in the next document that the filters kept."""
        document = len(self._keys.rows())
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
        for kind, places in self._places.items():
            rows = places.rows()
            # Stable: equal hashes stay in the order of the text.
            write_array(task_file(self._folder, kind, self._task), rows[np.argsort(rows["hash"], kind="stable")])
        if self._near:
            self._near.close()
        rows = self._keys.rows()
        order = np.lexsort((rows["low"], rows["high"]))
        write_array(task_file(self._folder, "exact", self._task), rows[order])


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
