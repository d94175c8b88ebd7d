"""The beginnings of the lists beside a corpus: records that could not be read, documents with evaluation texts."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from corpora.steps.samples import NUM_SAMPLES

_MAX_CONTAMINATED = 50
_MAX_LINES = 100_000  # where a reason is so rare that it does not occur among them, its count must do


def first_quarantined(path: Path, roots: Sequence[Path]) -> list[dict[str, Any]]:
    """Return up to ``NUM_SAMPLES`` records of each reason; none if there is no list.

    Args:
        path: ``quarantine.jsonl``.
        roots: The paths of the sources: files are named within them, so that the report is the same wherever they lie.
    """
    if not path.is_file():
        return []
    seen: Counter[str] = Counter()
    entries: list[dict[str, Any]] = []
    with path.open("rb") as lines:
        for line in islice(lines, _MAX_LINES):
            entry = orjson.loads(line)
            seen[entry["reason"]] += 1
            if seen[entry["reason"]] <= NUM_SAMPLES:
                entries.append({**entry, "source": _within(Path(entry["source"]), roots)})
    return entries


def first_contaminated(path: Path) -> list[dict[str, Any]]:
    """Return the first entries of ``contaminated.jsonl``, the evaluation files by name; none if there is no list."""
    if not path.is_file():
        return []
    with path.open("rb") as lines:
        entries = [orjson.loads(line) for line in islice(lines, _MAX_CONTAMINATED)]
    return [{**entry, "file": Path(entry["file"]).name} for entry in entries]


def _within(source: Path, roots: Sequence[Path]) -> str:
    for root in roots:
        if source != root and source.is_relative_to(root):
            return source.relative_to(root).as_posix()
    return source.name
