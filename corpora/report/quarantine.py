"""The first unreadable records of each reason, out of the quarantine's list."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from corpora.steps.samples import NUM_SAMPLES

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


def _within(source: Path, roots: Sequence[Path]) -> str:
    for root in roots:
        if source != root and source.is_relative_to(root):
            return source.relative_to(root).as_posix()
    return source.name
