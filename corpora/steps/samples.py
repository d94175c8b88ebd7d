"""Small samples of what a step did, for a person to judge; which ones hangs on nothing but the documents' ids."""

import heapq
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xxhash

from hanlm.files import replace_text

NUM_SAMPLES = 8
"""Kept of each kind, by a task and in the report."""


class Samples:
    """The documents of each kind whose ids have the smallest hashes: the same for every cut into tasks.

    Args:
        folder: Gets ``TASK.json``.
        task: Number of the task.
    """

    def __init__(self, folder: Path, task: int) -> None:
        self._path = folder / f"{task:05}.json"
        self._kept: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)

    def offer(self, kind: str, id: str, sample: dict[str, Any]) -> None:
        """Keep a sample of one kind if it is among the smallest so far."""
        kept = self._kept[kind]
        key = -xxhash.xxh3_64_intdigest(
            f"{kind}\0{id}".encode("utf-8", "surrogatepass")
        )  # a heap of negative keys has the largest first
        if len(kept) == NUM_SAMPLES and key < kept[0][0]:
            return
        entry = (key, json.dumps({"id": id, **sample}, ensure_ascii=False))
        (heapq.heappush if len(kept) < NUM_SAMPLES else heapq.heappushpop)(kept, entry)

    def write(self) -> None:
        """Write the samples down."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            {"kind": kind, "key": -key, **json.loads(sample)}
            for kind, kept in sorted(self._kept.items())
            for key, sample in sorted(kept, reverse=True)
        ]
        replace_text(self._path, json.dumps(rows, ensure_ascii=False))


def read_samples(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the samples of all tasks, by kind."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(sorted(folder.glob("*.json"))):
        found[row["kind"]].append(row)
    return {kind: sorted(rows, key=lambda row: row["key"])[:NUM_SAMPLES] for kind, rows in sorted(found.items())}


def _rows(paths: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for path in paths:
        yield from json.loads(path.read_text(encoding="utf-8"))
