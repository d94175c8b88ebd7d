"""What documents are like, counted as they pass: lengths, kinds of characters, languages and scripts."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, override

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from corpora.filters.language import identify
from corpora.steps.labels import label
from corpora.steps.samples import Samples
from corpora.steps.tally import Tally
from hanlm.text import class_counts

LENGTH_EDGES: Final = tuple(digit * 10**power for power in range(7) for digit in (1, 2, 5))
"""Least characters of each bin of the length histogram but the first, which is for empty documents."""

_SHOWN_CHARS = 2_000
_CHARS_AT_ONCE = 50_000


class MeasureRead(PipelineStep):
    """Counts documents by length as they were read: ``length/BIN/DOMAIN``."""

    type = "measure"
    name = "read"

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del rank, world_size
        counts = Tally()
        for piece in data:
            counts[_length(piece)] += 1
            yield piece
        counts.add_to(self)


class Measure(PipelineStep):
    """Counts what the kept documents are like, and keeps a sample of each domain.

    Counts ``length/BIN/DOMAIN``, ``class/CLASS`` (characters), ``script/TAG/DOMAIN`` and ``declared/TAG/LANG``
    (documents) and ``script_chars/TAG``; a ``TAG`` is one of ``corpora.filters.language.TAGS``.

    Args:
        folder: Of the stage.
    """

    type = "measure"
    name = "kept"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del world_size
        samples = Samples(self.folder / "samples" / self.name, rank)
        counts = _Counts()
        for piece in data:
            with self.track_time():
                counts.add(piece)
                domain = piece.metadata["domain"]
                sample = {"domain": domain, "num_chars": len(piece.text), "text": piece.text[:_SHOWN_CHARS]}
                samples.offer(domain, piece.id, sample)
            yield piece
        Tally(dict(counts.sums())).add_to(self)
        samples.write()


class _Counts:
    """Counts under tuples, which become names once a task: making names for every document took as long as counting."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._classes: Counter[str] = Counter()
        self._chars: Counter[str] = Counter()
        self._pending: list[str] = []
        self._num_pending = 0

    def add(self, piece: Piece) -> None:
        """Count one document."""
        text, domain = piece.text, piece.metadata["domain"]
        tag = identify(text).tag
        self._counts["length", str(bisect_right(LENGTH_EDGES, len(text))), domain] += 1
        self._counts["script", tag, domain] += 1
        self._counts["declared", tag, piece.metadata["lang"]] += 1
        self._chars[tag] += len(text)
        self._pending.append(text)
        self._num_pending += len(text)
        if self._num_pending >= _CHARS_AT_ONCE:
            self._count_classes()

    def sums(self) -> Iterator[tuple[str, int]]:
        """Yield all counts by name."""
        self._count_classes()
        for (what, value, domain), count in self._counts.items():
            yield label(f"{what}/{value}", domain), count
        for what, counts in (("class", self._classes), ("script_chars", self._chars)):
            for value, count in counts.items():
                yield label(what, value), count

    def _count_classes(self) -> None:
        self._classes.update(class_counts("".join(self._pending)))
        self._pending.clear()
        self._num_pending = 0


def _length(piece: Piece) -> str:
    return label(f"length/{bisect_right(LENGTH_EDGES, len(piece.text))}", piece.metadata["domain"])
