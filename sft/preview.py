"""Showing rows as they are trained on: the text a model reads, and what of it bears loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hanlm.bits import IGNORE
from hanlm.log import say
from hanlm.quarantine import Quarantine
from sft.encode import EncodedRow

_EXCERPT_CHARS = 60


class ShownQuarantine(Quarantine):
    """A quarantine that writes nothing and says the first rows it gets: where each lies and what is wrong with it.

    Args:
        num_shown: How many rows to say.
    """

    def __init__(self, num_shown: int) -> None:
        super().__init__()
        self.num_shown = num_shown

    def add(self, reason: str, source: Path | str, line_number: int, raw: bytes) -> None:
        super().add(reason, source, line_number, raw)
        if self.num_quarantined <= self.num_shown:
            excerpt = raw.decode("utf-8", "backslashreplace")[:_EXCERPT_CHARS]
            say(f"quarantined: {source}:{line_number}: {reason}: {excerpt}")


def show_rows(rows: Sequence[EncodedRow], tokenizer: Any, console: Console | None = None) -> None:
    """Print rows, the tokens that bear loss in green on a terminal and between ⟦ ⟧ everywhere."""
    console = console or Console()
    for number, row in enumerate(rows, start=1):
        targets = sum(label != IGNORE for label in row.labels)
        console.rule(f"row {number}: {len(row.ids)} tokens, {targets} bear loss")
        line = Text()
        for text, bears_loss in spans(row, tokenizer):
            line.append(f"⟦{text}⟧" if bears_loss else text, style="bold green" if bears_loss else "dim")
        console.print(line, soft_wrap=True)


def spans(row: EncodedRow, tokenizer: Any) -> Iterator[tuple[str, bool]]:
    """Yield the row's text in runs of tokens that bear loss or do not; special tokens are spelled out."""
    for bears_loss, run in groupby(zip(row.ids, row.labels, strict=True), key=lambda pair: pair[1] != IGNORE):
        yield tokenizer.decode([token for token, _ in run], clean_up_tokenization_spaces=False), bears_loss
