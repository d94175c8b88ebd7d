"""What deduplication decided about the documents of one task, asked while the corpus is written."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from corpora.dedup.cluster import REASONS
from corpora.dedup.config import DedupConfig
from corpora.dedup.cuts import LINE, agreed_cuts
from corpora.dedup.records import NO_TASK, Records, open_array, task_file
from hanlm.errors import ArtifactError
from hanlm.text import normalise

_SENTENCE_END = re.compile(r"[。！？!?]+[”’」』）)\"]*|\.(?=\s)|\n")


class Removals:
    """Removals and cuts of the documents of one task, by their numbers in the order they were signed."""

    def __init__(self, removals: Records, cuts: Records, config: DedupConfig) -> None:
        self._removals = {int(row["document"]): row for row in removals}
        self._cuts, self._config = cuts, config

    @classmethod
    def load(cls, folder: Path, task: int, config: DedupConfig) -> "Removals":
        """Read what the steps found for a task."""
        removals = np.array(open_array(task_file(folder, "removed", task)))
        has_cuts = config.lines or config.substrings
        cuts = agreed_cuts(folder, task, config.min_substring) if has_cuts else np.empty(0, [("document", "<u4")])
        return cls(removals, cuts, config)

    def reason(self, index: int) -> str | None:
        """Return why a document goes, or None where it stays."""
        row = self._removals.get(index)
        return None if row is None else REASONS[int(row["reason"])]

    def copy_of(self, index: int) -> tuple[int, int] | None:
        """Return task and number of the document that stays in its place; None where an earlier run has it."""
        row = self._removals.get(index)
        if row is None or row["copy_task"] == NO_TASK:
            return None
        return int(row["copy_task"]), int(row["copy_document"])

    def apply(self, index: int, text: str) -> tuple[str, Counter[str]]:
        """Cut repeated lines and passages out of a document that stays.

        The text must be the one that was signed. What remains is normalised, and may be empty. A document of
        which something remains must be kept however short it is now: others' cuts may rely on it.

        Returns:
            The text, and how many ``lines``, ``passages`` and ``chars`` were cut.

        Raises:
            ArtifactError: If the text is shorter than the one that was signed.
        """
        low, high = np.searchsorted(self._cuts["document"], [index, index + 1])
        spans = list[tuple[int, int]]()
        counts = Counter[str]()
        for cut in self._cuts[low:high]:
            start, end = int(cut["start"]), int(cut["end"])
            if end > len(text):
                raise ArtifactError(
                    f"document {index} should have at least {end} characters, got {len(text)}: the parts do not belong "
                    "to these signatures; delete the working folder and run the command again."
                )
            if cut["kind"] == LINE:
                counts["lines"] += 1
                spans.append((start, min(end + 1, len(text))))
            elif (span := self._passage(text, start, end)) is not None:
                counts["passages"] += 1
                spans.append(span)
        if not spans:
            return text, counts
        pieces = _without(text, spans)
        counts["chars"] = len(text) - sum(map(len, pieces))
        return normalise("".join(pieces)), counts

    def _passage(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        if not self._config.whole_sentences:
            return start, end
        # Ends just before the passage count: then it begins with a sentence.
        ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text, max(0, start - 8), end + 1)), len(text)]
        inside = [at for at in ends if start <= at <= end]
        if not inside or inside[-1] - inside[0] < self._config.min_substring:
            return None
        return inside[0], inside[-1]


def _without(text: str, spans: list[tuple[int, int]]) -> list[str]:
    """Return what lies between the spans."""
    pieces, at = list[str](), 0
    for start, end in sorted(spans):
        if start > at:
            pieces.append(text[at:start])
        at = max(at, end)
    return [*pieces, text[at:]]
