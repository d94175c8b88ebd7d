"""What a step takes away: documents by reason and domain, and bytes, so that the report can follow both to the end."""

from collections.abc import Mapping

from datatrove.data import Document as Piece

from corpora.steps.labels import label
from corpora.steps.tally import Tally

LOST = "lost"
"""Count of dropped documents, by ``REASON/DOMAIN``."""
BYTES_LOST = "bytes_lost"
"""UTF-8 bytes of what was dropped or cut out; negative where a text became longer."""


class Losses(Tally):
    """A tally of a step that takes something away."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        super().__init__(counts or {BYTES_LOST: 0})  # counts are given where one is unpickled

    def drop(self, piece: Piece, reason: str) -> None:
        """Count a document that is dropped; ``reason`` is one snake_case word."""
        self[label(f"{LOST}/{reason}", piece.metadata["domain"])] += 1
        self[BYTES_LOST] += num_bytes(piece.text)

    def change(self, before: str, after: str) -> None:
        """Count what a changed text lost."""
        self[BYTES_LOST] += num_bytes(before) - num_bytes(after)


def num_bytes(text: str) -> int:
    """Return the length of a text in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))
