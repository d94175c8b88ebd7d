"""Personal data as a step: like a cleaner, and what was masked is counted by type."""

from pathlib import Path
from typing import override

from datatrove.data import Document as Piece

from corpora.cleaning.personal_data import PersonalData
from corpora.steps.cleaning import Clean
from corpora.steps.labels import label


class Mask(Clean):
    """Masks personal data; counts ``masked/TYPE`` besides what every cleaner counts."""

    def __init__(self, name: str, masks: PersonalData, folder: Path) -> None:
        super().__init__(name, masks, chinese_only=False, folder=folder)
        self.masks = masks

    @override
    def cleaned(self, piece: Piece) -> str:
        """Return the text masked."""
        text, masked = self.masks.mask(piece.text)
        for kind, count in masked.items():
            self.stat_update(label("masked", kind), value=count)
        return text
