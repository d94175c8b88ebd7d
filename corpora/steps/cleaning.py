"""A cleaner as a step: every document passes, some of them changed."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, override

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from corpora.facts import CHINESE
from corpora.steps.labels import label
from corpora.steps.losses import Losses
from corpora.steps.samples import Samples
from hanlm.text import base_language


class Clean(PipelineStep):
    """Applies one cleaner; keeps a sample of texts before and after for the report.

    Counts ``documents``, ``changed``, ``chars_in``, ``chars_out`` and ``bytes_lost``; by domain ``changed`` again.

    Args:
        name: Of the cleaner.
        cleaner: Takes a text, returns it mended.
        chinese_only: Whether documents of other languages pass untouched.
        folder: Of the stage.
    """

    type = "clean"

    def __init__(self, name: str, cleaner: Callable[[str], str], *, chinese_only: bool, folder: Path) -> None:
        self.name = name
        super().__init__()
        self.cleaner, self.chinese_only, self.folder = cleaner, chinese_only, folder

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del world_size
        samples = Samples(self.folder / "samples" / self.name, rank)
        counts = Losses()
        counts.update({"documents": 0, "changed": 0, "chars_in": 0, "chars_out": 0})
        for piece in data:
            with self.track_time():
                text = self.cleaned(piece)
                counts["documents"] += 1
                if text is not piece.text and text != piece.text:
                    counts.change(piece.text, text)
                    counts["changed"] += 1
                    counts[label("changed", piece.metadata["domain"])] += 1
                    samples.offer("changed", piece.id, change(piece, text))
                counts["chars_in"] += len(piece.text)
                counts["chars_out"] += len(text)
                piece.text = text
            yield piece
        counts.add_to(self)
        samples.write()

    def cleaned(self, piece: Piece) -> str:
        """Return the text of a document as the cleaner leaves it."""
        if self.chinese_only and base_language(piece.metadata["lang"]) not in CHINESE:
            return piece.text
        return self.cleaner(piece.text)


_AROUND_CHARS = 60
SHOWN_CHARS = 500
"""Length at which the texts of a sample are cut."""


def change(piece: Piece, after: str) -> dict[str, Any]:
    """Return what the report shows of a changed document: what stands around the first difference."""
    before = piece.text
    same = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    first = max(0, same - _AROUND_CHARS)
    shown = slice(first, first + SHOWN_CHARS)
    return {"domain": piece.metadata["domain"], "before": before[shown], "after": after[shown]}
