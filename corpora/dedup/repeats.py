"""Finding lines and passages that stand in more than one of the documents that are kept."""

from pathlib import Path

import numpy as np

from corpora.dedup.config import DedupConfig
from corpora.dedup.equal import equal_groups, leaders
from corpora.dedup.records import (
    MATCH,
    PLACE,
    Records,
    RepeatKind,
    between,
    hash_range,
    joined,
    open_array,
    task_file,
    with_task,
    write_array,
)
from corpora.dedup.steps import DedupStep

_TASK_PLACE = np.dtype([("task", "<u4"), *PLACE.descr])


class FindRepeats(DedupStep):
    """Matches every later occurrence of a line, or of a fingerprint of a passage, with the first document that has it.

    Runs as any number of tasks, after the clustering: documents that go are passed over,
    so that the first occurrence is one that is kept. Within one document nothing counts as a repeat.
    """

    def __init__(self, folder: Path, num_tasks: int, kind: RepeatKind, config: DedupConfig) -> None:
        super().__init__(folder, num_tasks)
        self.kind, self.config = kind, config
        self.name = f"dedup: repeated {kind}"

    def work(self, part: int, num_parts: int) -> None:
        """Compare the hashes of one range."""
        first, end = hash_range(part, num_parts)
        places = [self._places(task, first, end) for task in range(self.num_tasks)]
        min_documents = self.config.max_line_documents + 1 if self.kind == "lines" else 2
        matches = _matches(joined(places, _TASK_PLACE), min_documents)
        self.stat_update("matches", value=len(matches))
        write_array(task_file(self.folder, f"found/{self.kind}", part), matches)

    def _places(self, task: int, first: int, end: int) -> Records:
        found = between(open_array(task_file(self.folder, self.kind, task)), "hash", first, end)
        removed = open_array(task_file(self.folder, "removed", task))["document"]
        return with_task(found[~np.isin(found["document"], removed)], task)


def _matches(places: Records, min_documents: int) -> Records:
    """Return the later occurrences of what stands in ``min_documents`` or more, sorted by task and place."""
    order, begins = equal_groups(places["hash"])
    places = places[order]
    if not len(places):
        return np.empty(0, dtype=MATCH)
    leader = leaders(begins)
    is_new = begins.copy()
    is_new[1:] |= (places["task"][1:] != places["task"][:-1]) | (places["document"][1:] != places["document"][:-1])
    num_documents = np.cumsum(is_new)
    groups = np.flatnonzero(begins)
    sizes = np.add.reduceat(is_new, groups, dtype=np.int64)[np.cumsum(begins) - 1]
    later = (num_documents > num_documents[leader]) & (sizes >= min_documents)
    copies, sources = places[later], places[leader[later]]
    matches = np.empty(len(copies), dtype=MATCH)
    for prefix, side in (("", copies), ("source_", sources)):
        matches[f"{prefix}task"], matches[f"{prefix}document"] = side["task"], side["document"]
        matches[f"{prefix}start"] = side["position"]
        matches[f"{prefix}end"] = side["position"] + side["length"]
    return matches[np.lexsort((matches["start"], matches["document"], matches["task"]))]
