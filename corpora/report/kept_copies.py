"""The text of the copy that stayed, beside each sample of a dropped copy."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpora.steps.filtering import excerpt
from corpora.steps.parts import ReadParts


def with_copies(
    samples: Mapping[str, Mapping[str, Sequence[dict[str, Any]]]], parts: Path
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the samples with ``copy_of`` (a task and a number) replaced by what the report shows of that document.

    Args:
        samples: By step and kind.
        parts: The folder of ``WriteParts``; the parts of the tasks that were asked for are read, no others.
    """
    wanted: defaultdict[int, set[int]] = defaultdict(set)
    for task, number in _places(samples):
        wanted[task].add(number)
    found = {
        (task, number): shown
        for task, numbers in sorted(wanted.items())
        for number, shown in _read(parts, task, numbers)
    }
    return {
        step: {kind: [_filled(sample, found) for sample in each] for kind, each in kinds.items()}
        for step, kinds in samples.items()
    }


def _places(samples: Mapping[str, Mapping[str, Sequence[dict[str, Any]]]]) -> list[tuple[int, int]]:
    rows = (sample for kinds in samples.values() for each in kinds.values() for sample in each)
    return [(task, number) for task, number in (row["copy_of"] for row in rows if row.get("copy_of"))]


def _read(parts: Path, task: int, numbers: set[int]) -> list[tuple[int, dict[str, Any]]]:
    found: list[tuple[int, dict[str, Any]]] = []
    for piece in ReadParts(parts).run(rank=task):
        number = piece.metadata["number"]
        if number in numbers:
            found.append((number, {"id": piece.id, **excerpt(piece)}))
            if len(found) == len(numbers):
                break
    return found


def _filled(sample: dict[str, Any], found: Mapping[tuple[int, int], dict[str, Any]]) -> dict[str, Any]:
    if "copy_of" not in sample:
        return sample
    place = sample["copy_of"]
    return {**sample, "copy_of": found.get((place[0], place[1])) if place else None}
