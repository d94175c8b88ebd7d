"""Which documents go: all members but the first of each set of documents that copies connect."""

import numpy as np
import numpy.typing as npt

from corpora.dedup import kernels
from corpora.dedup.records import NO_TASK, REMOVAL, Records, open_array, task_file, write_array
from corpora.dedup.steps import DedupStep

REASONS = {1: "duplicate", 2: "near_duplicate", 3: "known_duplicate"}
"""Why a document goes: its text stands in an earlier one; much of it does; an earlier run has it."""

_DUPLICATE, _NEAR, _KNOWN = REASONS
_PAIRS_AT_ONCE = 1 << 20


class Cluster(DedupStep):
    """Joins all pairs, exact and near, and lists for each task the documents that go; runs as one task.

    Of each connected set the first document in input order stays, unless one of the set is in the index of an
    earlier run: then all go. So a chain A~B~C keeps A alone, even where C resembles only B.

    A disjoint-set forest over document numbers takes the pairs a piece at a time: 8 bytes a document whatever
    the number of pairs, where a graph of them (``scipy.sparse.csgraph``) or datatrove's dictionaries hold all.
    """

    name = "dedup: cluster"

    def work(self, part: int, num_parts: int) -> None:
        """Write ``removed`` of every task."""
        assert (part, num_parts) == (0, 1), f"expected the clustering as one task, got {num_parts}"
        sizes = [len(open_array(task_file(self.folder, "exact", task))) for task in range(self.num_tasks)]
        offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        forest = _Forest(offsets)
        for kind in ("exact", "near"):
            for path in sorted((self.folder / "found" / kind).glob("[0-9]*.npy")):
                pairs = open_array(path)
                for start in range(0, len(pairs), _PAIRS_AT_ONCE):
                    forest.join(np.array(pairs[start : start + _PAIRS_AT_ONCE]), is_exact=kind == "exact")
        forest.finish()
        for task in range(self.num_tasks):
            removals = forest.removals(task)
            for code, reason in REASONS.items():
                self.stat_update(reason, value=int((removals["reason"] == code).sum()))
            write_array(task_file(self.folder, "removed", task), removals)


class _Forest:
    """Sets of documents, which are numbered through all tasks."""

    def __init__(self, offsets: npt.NDArray[np.int64]) -> None:
        self._offsets = offsets
        self._root = np.arange(offsets[-1])
        self._is_exact = np.zeros(offsets[-1], dtype=bool)
        self._is_known = np.zeros(offsets[-1], dtype=bool)

    def join(self, pairs: Records, *, is_exact: bool) -> None:
        """Take in pairs."""
        later = self._offsets[pairs["other_task"]] + pairs["other_document"]
        is_known = pairs["task"] == NO_TASK
        self._is_known[later[is_known]] = True
        earlier = self._offsets[pairs["task"][~is_known]] + pairs["document"][~is_known]
        later = later[~is_known]
        if is_exact:
            self._is_exact[later] = True
        kernels.unite(self._root, earlier, later)

    def finish(self) -> None:
        """Settle every document's first copy; what is known in one document is known in its whole set."""
        kernels.flatten(self._root)
        self._is_known[self._root[self._is_known]] = True
        self._is_known = self._is_known[self._root]

    def removals(self, task: int) -> Records:
        """Return what goes of a task."""
        first, end = self._offsets[task], self._offsets[task + 1]
        root, is_known = self._root[first:end], self._is_known[first:end]
        documents = np.flatnonzero((root != np.arange(first, end)) | is_known)
        removals = np.empty(len(documents), dtype=REMOVAL)
        removals["document"] = documents
        removals["reason"] = np.where(self._is_exact[first:end], _DUPLICATE, _NEAR)[documents]
        tasks = np.searchsorted(self._offsets, root[documents], side="right") - 1
        removals["copy_task"], removals["copy_document"] = tasks, root[documents] - self._offsets[tasks]
        known = is_known[documents]
        removals["reason"][known] = _KNOWN
        removals["copy_task"][known] = removals["copy_document"][known] = NO_TASK
        return removals
