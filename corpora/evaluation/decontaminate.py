"""Documents that hold the texts of an evaluation, found by the n-grams of letters that they share."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.evaluation.index import EvalIndex, TextKind
from corpora.evaluation.ngrams import Places, anchor_hashes, find_sorted, num_covered_letters
from corpora.facts import Facts, Reason, figure
from corpora.folding import Codes, folded_letters, to_text

_MAX_EXCERPT_CHARS = 200
_MAX_GAP = 100
# Labels such as A and (1) and a line or two stand between a question and its choices.
_CHOICES_WITHIN = 300


@dataclass(frozen=True, slots=True)
class Match:
    """The evaluation text that a document holds most of."""

    file: str
    """The evaluation file."""
    item: int
    """The item's number in it, from 1."""
    field: str
    """Where in the item the text stands."""
    overlap: float
    """The share of its letters that the document's n-grams cover."""
    num_ngrams: int
    """How many of its distinct n-grams the document holds."""
    excerpt: str
    """What the document says there, at most 200 characters."""

    def entry(self, document_id: str) -> dict[str, Any]:
        """Return the line for the list of removals."""
        return {"id": document_id, **asdict(self), "overlap": round(self.overlap, 4)}


class Decontaminate:
    """Drops a document that holds an evaluation text: reason ``contaminated``.

    Args:
        index: What must stay out, or the file that ``EvalIndex.save`` wrote: only its path travels to the workers.
    """

    def __init__(self, index: EvalIndex | Path) -> None:
        self._index = index

    @property
    def index(self) -> EvalIndex:
        """The index, read once a process."""
        return self._index if isinstance(self._index, EvalIndex) else EvalIndex.load_once(self._index)

    def match(self, text: str) -> Match | None:
        """Return the evaluation text that the text holds most of, or None where it holds too little of any."""
        return match(self.index, text)

    def __call__(self, facts: Facts, /) -> str | None:
        found = self.match(facts.text)
        return None if found is None else Reason("contaminated", self.evidence(found))

    def evidence(self, found: Match) -> str:
        """Return what was found, for a reason: the share of the text or, where that is below its limit, the n-grams."""
        limits = self.index.config
        measured = f"{figure(found.overlap)} of {{}}, limit {figure(limits.min_overlap)}"
        if found.overlap < limits.min_overlap:
            measured = f"{figure(found.num_ngrams)} n-grams of {{}}, limit {figure(limits.max_ngrams)}"
        text = f"{found.field} of item {found.item} in {Path(found.file).name}"
        return f"holds {measured.replace('{}', text)}: “{found.excerpt}”"


def match(index: EvalIndex, text: str) -> Match | None:
    """Return the evaluation text of which ``text`` holds enough by the index's limits, and most; else None."""
    letters, places = folded_letters(text)
    anchors = anchor_hashes(letters)
    anchored = index.slots.places(anchors)
    anchored = anchored[find_sorted(index.anchors, anchors[anchored])[0]]
    if not len(anchored):  # as in most documents
        return None
    best: _Found | None = None
    for table in index.tables:
        at, found = table.find(letters, anchored)
        if not len(at):
            continue
        which, text_ids, positions = table.rows_of(found)
        for text_id in _candidates(index, table.n, text_ids):
            own = text_ids == text_id
            result = _Found(
                text_id, table.n, at[np.unique(which[own])], np.unique(positions[own]).astype(np.int64), 0.0
            )
            result = _judged(index, result, letters, places)
            if result is not None and (best is None or result.rank > best.rank):
                best = result
    if best is None:
        return None
    file, number, field = index.name_of(best.text_id)
    excerpt = _excerpt(text, places, best.starts, best.n)
    return Match(file, number, field, best.overlap, len(best.positions), excerpt)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a document shares with one evaluation text."""

    text_id: int
    n: int
    starts: Places
    """Where the shared n-grams start among the document's letters."""
    positions: Places
    """Where they start in the evaluation text, sorted and distinct."""
    overlap: float

    @property
    def rank(self) -> tuple[float, int]:
        return self.overlap, len(self.positions)


def _judged(index: EvalIndex, found: _Found, letters: Codes, places: Places) -> _Found | None:
    """Return what was found with its overlap, or None where it is too little."""
    if index.kinds[found.text_id] == TextKind.WHOLE:
        start = _whole(index, found.text_id, letters, places, found.starts)
        return None if start is None else replace(found, starts=start, overlap=1.0)
    config = index.config
    num_letters = int(index.num_letters[found.text_id])
    num_covered = num_covered_letters(found.positions, found.n)
    is_enough = num_covered >= max(config.min_overlap * num_letters, min(config.min_letters, num_letters))
    if not is_enough and len(found.positions) < config.max_ngrams:
        return None
    return replace(found, overlap=num_covered / num_letters)


def _candidates(index: EvalIndex, n: int, text_ids: npt.NDArray[np.int32]) -> list[int]:
    """Return the texts of which so many n-grams were found, repeated ones too, that they may be covered enough."""
    found, counts = np.unique(text_ids, return_counts=True)
    enough = counts * n >= index.config.min_overlap * index.num_letters[found]
    enough |= (counts >= index.config.max_ngrams) | (index.kinds[found] == TextKind.WHOLE)
    return [int(text_id) for text_id in found[enough]]


def _whole(index: EvalIndex, text_id: int, letters: Codes, places: Places, starts: Places) -> Places | None:
    """Return the place where a short text stands whole: with its choices after it, or else as a clause of its own."""
    wanted, choices = index.whole_text(text_id)
    for start in starts.tolist():
        end = start + len(wanted)
        if end > len(letters) or to_text(letters[start:end]) != wanted:
            continue
        if choices:
            after = to_text(letters[end : end + _CHOICES_WITHIN + sum(map(len, choices))])
            is_here = all(choice in after for choice in choices)
        else:
            opens = start == 0 or places[start] - places[start - 1] > 1
            is_here = bool(opens and (end == len(letters) or places[end] - places[end - 1] > 1))
        if is_here:
            return np.array([start])
    return None


def _excerpt(text: str, places: Places, starts: Places, n: int) -> str:
    """Return the run with most of the shared n-grams as the document writes it."""
    run = max(np.split(starts, np.flatnonzero(np.diff(starts) > _MAX_GAP) + 1), key=len)
    first, end = int(places[run[0]]), int(places[min(run[-1] + n, len(places)) - 1]) + 1
    return text[first : min(end, first + _MAX_EXCERPT_CHARS)]
