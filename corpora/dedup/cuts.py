"""From matched lines and fingerprints to the characters that are cut out.

What is guaranteed of passages, with windows of W characters of which one in every w in a row is chosen (w <= W):

* Every passage of W + w - 1 characters that two documents share has w windows in a row in both, and the choice
  hangs on these alone: the documents share a fingerprint (Schleimer, Wilkerson, Aiken 2003).
* Matched windows that lie as far from each other as their sources do, each beginning before or where the one
  before ends, cover text that is repeated in one piece: every character lies in a matched window. Chosen windows of a
  shared passage are at most w <= W apart, so they always join. All of the passage is covered but for at most
  w - 1 characters at each end: one of ``min_substring + 2 * (w - 1)`` characters is surely cut, if its first
  document has it in one piece, and one of less than ``min_substring`` never.
* Nothing is lost. A cut whose source is itself cut, even in part, is shortened to what is left in the source, and
  given up where that is too short. So each cut text still stands, in one piece, in a document that is kept.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from corpora.dedup.config import DedupConfig
from corpora.dedup.records import MATCH, Records, between, joined, open_array, task_file, write_array
from corpora.dedup.steps import DedupStep

LINE: Final = 0
PASSAGE: Final = 1
CUT: Final = np.dtype([*MATCH.descr, ("kind", "u1")])
"""A match that is long enough, and whether it is a line."""
TAKEN: Final = np.dtype([("document", "<u4"), ("start", "<u4"), ("end", "<u4")])
"""Characters that may be cut from a document; sorted, and apart from each other."""

type Ends = npt.NDArray[np.uint64]


class CollectCuts(DedupStep):
    """Joins the matches of each task's documents into cuts; runs as any number of tasks."""

    name = "dedup: cuts"

    def __init__(self, folder: Path, num_tasks: int, config: DedupConfig) -> None:
        super().__init__(folder, num_tasks)
        self.config = config

    def work(self, part: int, num_parts: int) -> None:
        """Write ``cuts`` and ``taken`` of every ``num_parts``-th task."""
        for task in range(part, self.num_tasks, num_parts):
            lines = _with_kind(self._found("lines", task) if self.config.lines else np.empty(0, MATCH), LINE)
            windows = self._found("substrings", task) if self.config.substrings else np.empty(0, MATCH)
            passages = _with_kind(joined_windows(windows, self.config.min_substring), PASSAGE)
            cuts = np.concatenate([lines, passages])
            cuts = cuts[np.lexsort((cuts["end"], cuts["start"], cuts["document"]))]
            write_array(task_file(self.folder, "cuts", task), cuts)
            write_array(task_file(self.folder, "taken", task), _taken(cuts))

    def _found(self, kind: str, task: int) -> Records:
        files = sorted((self.folder / "found" / kind).glob("[0-9]*.npy"))
        return joined([between(open_array(path), "task", task, task + 1) for path in files], MATCH)


def joined_windows(matches: Records, min_length: int) -> Records:
    """Return passages of at least ``min_length`` characters: windows on one diagonal, each touching the next."""
    shift = matches["start"].astype(np.int64) - matches["source_start"]
    order = np.lexsort(
        (matches["start"], shift, matches["source_document"], matches["source_task"], matches["document"])
    )
    matches, shift = matches[order], shift[order]
    if not len(matches):
        return matches
    begins = np.ones(len(matches), dtype=bool)
    begins[1:] = (shift[1:] != shift[:-1]) | (matches["start"][1:] > matches["end"][:-1])
    for name in ("document", "source_task", "source_document"):
        begins[1:] |= matches[name][1:] != matches[name][:-1]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(matches)) - 1
    passages = matches[first]
    passages["end"], passages["source_end"] = matches["end"][last], matches["source_end"][last]
    return passages[passages["end"] - passages["start"] >= min_length]


def agreed_cuts(folder: Path, task: int, min_substring: int) -> Records:
    """Return a task's cuts, shortened so that the source of each is left in one piece; sorted by place."""
    cuts = np.array(open_array(task_file(folder, "cuts", task)))
    cuts = cuts[np.argsort(cuts["source_task"], kind="stable")]
    agreed: list[Any] = []
    for source_task in np.unique(cuts["source_task"]):
        taken = open_array(task_file(folder, "taken", int(source_task)))
        agreed.append(_agreed(between(cuts, "source_task", source_task, source_task + 1), taken, min_substring))
    found = joined(agreed, CUT)
    return found[np.lexsort((found["end"], found["start"], found["document"]))]


def _agreed(cuts: Records, taken: Records, min_substring: int) -> Records:
    """Keep the cuts whose source lies apart from everything taken; shorten passages that do not."""
    starts, ends = _global(taken["document"], taken["start"]), _global(taken["document"], taken["end"])
    low = _global(cuts["source_document"], cuts["source_start"])
    high = _global(cuts["source_document"], cuts["source_end"])
    nearest = np.searchsorted(ends, low, side="right")
    touches = np.append(starts, np.uint64(2**64 - 1))[nearest] < high
    shortened = [
        piece
        for index in np.flatnonzero(touches & (cuts["kind"] == PASSAGE))
        for piece in _pieces(cuts[index], starts[nearest[index] :], ends[nearest[index] :], min_substring)
    ]
    return np.concatenate([cuts[~touches], np.array(shortened, dtype=CUT)])


def _pieces(cut: Any, starts: Ends, ends: Ends, min_substring: int) -> list[Any]:
    """Return what is left of a passage when what is taken from its source is left out."""
    base = int(cut["source_document"]) << 32
    at, source_end = int(cut["source_start"]), int(cut["source_end"])
    free: list[tuple[int, int]] = []
    for start, end in zip(starts, ends, strict=True):
        if int(start) - base >= source_end:
            break
        free.append((at, int(start) - base))
        at = int(end) - base
    free.append((at, source_end))
    pieces: list[Any] = []
    for start, end in free:
        if end - start >= min_substring:
            piece = cut.copy()
            piece["start"] = int(cut["start"]) + start - int(cut["source_start"])
            piece["end"] = int(piece["start"]) + end - start
            piece["source_start"], piece["source_end"] = start, end
            pieces.append(piece)
    return pieces


def _taken(cuts: Records) -> Records:
    """Return the characters that cuts take, sorted, overlapping ones as one; ``cuts`` are sorted by place."""
    taken = np.empty(len(cuts), dtype=TAKEN)
    for name in TAKEN.names or ():
        taken[name] = cuts[name]
    taken["end"] += cuts["kind"] == LINE  # a line goes with its end
    if not len(taken):
        return taken
    reach = np.maximum.accumulate(_global(taken["document"], taken["end"]))
    begins = np.ones(len(taken), dtype=bool)
    begins[1:] = _global(taken["document"], taken["start"])[1:] > reach[:-1]
    first = np.flatnonzero(begins)
    merged = taken[first]
    merged["end"] = (reach[np.append(first[1:], len(taken)) - 1] & np.uint64(2**32 - 1)).astype(np.uint32)
    return merged


def _global(documents: npt.NDArray[Any], positions: npt.NDArray[Any]) -> Ends:
    """Number the characters of a task through."""
    return (documents.astype(np.uint64) << np.uint64(32)) | positions.astype(np.uint64)


def _with_kind(matches: Records, kind: int) -> Records:
    cuts = np.empty(len(matches), dtype=CUT)
    for name in MATCH.names or ():
        cuts[name] = matches[name]
    cuts["kind"] = kind
    return cuts
