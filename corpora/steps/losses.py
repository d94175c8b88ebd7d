"""What a step takes away: documents by reason and domain, and bytes, so that the report can follow both to the end."""

from collections import Counter

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from corpora.steps.labels import label

LOST = "lost"
"""Count of dropped documents, by ``REASON/DOMAIN``."""
BYTES_LOST = "bytes_lost"
"""UTF-8 bytes of what was dropped or cut out; negative where a text became longer."""


class Losses:
    """Counts in plain dicts while documents pass, and adds the sums to the step's statistics at the task's end."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter({BYTES_LOST: 0})

    def drop(self, piece: Piece, reason: str) -> None:
        """Count a document that is dropped; ``reason`` is one snake_case word."""
        self._counts[label(f"{LOST}/{reason}", piece.metadata["domain"])] += 1
        self._counts[BYTES_LOST] += num_bytes(piece.text)

    def change(self, before: str, after: str) -> None:
        """Count what a changed text lost."""
        self._counts[BYTES_LOST] += num_bytes(before) - num_bytes(after)

    def count_in(self, step: PipelineStep) -> None:
        """Add all counts to the statistics of a step."""
        for name, count in self._counts.items():
            step.stat_update(name, value=count)


def num_bytes(text: str) -> int:
    """Return the length of a text in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))
