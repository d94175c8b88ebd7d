"""A rule as a step: documents it gives a reason for are dropped, counted, and sampled for the report."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self, override

from datatrove.data import Document as Piece
from datatrove.pipeline.filters.base_filter import BaseFilter

from corpora.facts import Facts, Reason, Rule
from corpora.steps.losses import Losses
from corpora.steps.samples import Samples

_FACTS = "facts"
_SHOWN_CHARS = 600


class DroppingFilter(BaseFilter):
    """A filter of datatrove's that keeps samples of what it drops; datatrove counts ``dropped_REASON``.

    Counts ``lost/REASON/DOMAIN`` and ``bytes_lost`` too.
    """

    type = "filter"

    def __init__(self, dropped: "DroppedSamples") -> None:
        super().__init__(exclusion_writer=dropped)  # pyright: ignore[reportArgumentType]
        self._dropped = dropped

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        yield from super().run(data, rank, world_size)  # pyright: ignore[reportArgumentType]
        self._dropped.losses.add_to(self)


class Filter(DroppingFilter):
    """Applies one rule.

    Args:
        name: Of the rule.
        rule: Says why a document is dropped, or None.
        folder: Of the stage.
    """

    def __init__(self, name: str, rule: Rule, folder: Path) -> None:
        self.name = name
        super().__init__(DroppedSamples(folder / "samples" / name))
        self.rule = rule

    @override
    def filter(self, doc: Piece) -> bool | tuple[bool, str]:
        """Return whether to keep a document, and if not, why not."""
        reason = self.rule(facts_of(doc))
        return True if reason is None else (False, reason)


class DroppedSamples:
    """Takes the place of datatrove's writer of dropped documents: counts them and keeps a few of each reason."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.losses = Losses()
        self._samples: Samples | None = None

    def __enter__(self) -> Self:
        self.losses = Losses()  # of this task alone, where one process runs several
        return self

    def __exit__(self, *_: object) -> None:
        if self._samples is not None:
            self._samples.write()
            self._samples = None

    def write(self, document: Piece, rank: int = 0) -> None:
        """Take a dropped document."""
        self._samples = self._samples or Samples(self.folder, rank)
        reason: str = document.metadata["filter_reason"]
        self.losses.drop(document, reason)
        why = {"why": reason.evidence} if isinstance(reason, Reason) and reason.evidence else {}
        self._samples.offer(str(reason), document.id, why | excerpt(document))


def excerpt(piece: Piece) -> dict[str, Any]:
    """Return what the report shows of a document."""
    text = piece.text
    return {"domain": piece.metadata["domain"], "num_chars": len(text), "text": text[:_SHOWN_CHARS]}


def facts_of(piece: Piece) -> Facts:
    """Return the facts of a document, those of its present text, which all steps share."""
    facts: Facts | None = piece.metadata.get(_FACTS)
    if facts is None or facts.text is not piece.text:
        facts = Facts(piece.text, piece.metadata["lang"], piece.metadata["domain"])
        piece.metadata[_FACTS] = facts
    return facts
