"""Read the corpus once: count segments to learn from, hold documents out to measure on, keep lines to check.

Memory is bounded by the distinct segments and the held-out text, not by the corpus.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hanlm.artifact import read_manifest
from hanlm.counts import by_reason
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document, read_documents
from hanlm.text import in_valid_split
from tokenizer.pieces import has_strong
from tokenizer.reservoir import Reservoir
from tokenizer.sample import Sample

HELD_OUT_FRACTION: Final = 0.02
"""Share of a corpus without a valid split that is measured on instead of learned from: corpus build's default."""

MAX_HELD_OUT_CHARS: Final = 400_000
"""Held-out text per domain; 0.4 MB gave tokens per character to three digits."""

MAX_CHECKED_CHARS: Final = 1_000_000
"""Foreign lines, and text of the corpus, that the new tokenizer is compared on before it is written."""

MAX_DOMAINS: Final = 64
OTHER_DOMAINS: Final = "(other domains)"

_HELD_OUT: Final = "held-out documents"
_TOO_LITTLE: Final = "the training text itself (too few documents to hold any out)"

type Segments = Callable[[str], Iterable[str]]
"""Text -> the strings in it inside which new pieces may be formed."""


@dataclass(slots=True)
class CorpusCount:
    """What one pass over the corpus yields."""

    segments: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    """Domain -> segment -> occurrences."""
    held_out: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Domain -> documents that are measured on and not learned from; none of them empty, and no domain without any."""
    foreign_lines: dict[str, None] = field(default_factory=dict[str, None])
    """Distinct lines without Han and CJK punctuation: their ids must not change."""
    documents: list[str] = field(default_factory=list[str])
    """Documents, spread over the corpus, on which SentencePiece and the fast tokenizer are compared."""
    sample: Reservoir = field(default_factory=Reservoir)
    """Text that stands for the whole corpus: a share of every part."""
    num_documents: int = 0
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    """Domain -> share of its documents that was learned from, where that is not all."""
    measured_on: str = ""
    """Where ``held_out`` comes from, in words."""
    _num_checked_chars: int = 0

    @property
    def is_held_out(self) -> bool:
        """Whether what is measured on was not learned from."""
        return self.measured_on in ("", _HELD_OUT)

    @property
    def num_distinct(self) -> int:
        """Distinct segments, those of two domains counted twice."""
        return sum(map(len, self.segments.values()))

    def learn_from(self, document: Document, segments: Segments) -> None:
        """Count a document's segments, and keep some of its text to check."""
        self.num_documents += 1
        if found := segments(document.text):
            self.segments.setdefault(document.domain, Counter()).update(found)
            self.sample.add(document.text)
        self._check_on(document.text)

    def hold_out(self, document: Document) -> None:
        """Keep a document to measure on, unless its domain has enough."""
        if not document.text:
            return
        known = document.domain in self.held_out or len(self.held_out) < MAX_DOMAINS
        texts = self.held_out.setdefault(document.domain if known else OTHER_DOMAINS, [])
        room = MAX_HELD_OUT_CHARS - sum(map(len, texts))
        if room > 0:
            texts.append(document.text[:room])

    def some_held_out(self) -> list[str]:
        """Return the first held-out documents of each domain."""
        return [text for texts in self.held_out.values() for text in texts[:10]]

    def _check_on(self, text: str) -> None:
        """Keep lines and, ever more sparsely, whole documents until there are enough."""
        room = MAX_CHECKED_CHARS - self._num_checked_chars
        if room <= 0 or len(text) > room:
            return
        for line in text.split("\n"):
            if line and line not in self.foreign_lines and not has_strong(line):
                self.foreign_lines[line] = None
                self._num_checked_chars += len(line)
        few = self._num_checked_chars < MAX_CHECKED_CHARS // 4
        if few or is_due(self.num_documents, len(self.documents)):
            self.documents.append(text)
            self._num_checked_chars += len(text)


def is_due(num_seen: int, num_kept: int) -> bool:
    """Say whether one more document is to be kept: of the first all, then ever fewer, so that all parts have some."""
    return num_seen >= 1.05 ** min(num_kept, 800)  # more documents than there are; a larger power overflows


def count_corpus(
    paths: Sequence[Path],
    quarantine: Quarantine,
    segments: Segments,
    *,
    sample: Sample | None = None,
    to_learn: bool = True,
    max_quarantined: float = 1.0,
) -> CorpusCount:
    """Read every document once, and learn from all or from those of a sample.

    Corpus artifacts bring their own valid split; of other texts a share is held out by the hash of the
    content. Where that leaves nothing to measure on, the training text itself is measured.

    Raises:
        InputError: If more than ``max_quarantined`` of the records cannot be read, or the texts hold nothing new
            pieces could be learned from.
    """
    sample = sample or Sample()
    count = CorpusCount(shares=sample.shares)
    for path in paths:
        for document, is_held_out in parted_documents(path, quarantine):
            if is_held_out:
                count.hold_out(document)
            elif sample.takes(document):
                count.learn_from(document, segments)
    quarantine.check(max_quarantined)  # before anything else is said of what could be read
    count.measured_on = _HELD_OUT
    has_held_out = any(has_strong(text) for texts in count.held_out.values() for text in texts)
    if to_learn and has_held_out and not count.segments:  # so little text that the split took all of it
        _learn_from_all(count, paths, segments)
    if to_learn and not count.segments:
        bad = f"; {by_reason(quarantine.counts)} could not be read" if quarantine.counts else ""
        raise InputError(
            f"{', '.join(map(str, paths))} holds no Chinese to learn from (documents read: {count.num_documents:,}"
            f"{bad}); expected texts with Han characters: pass a Chinese corpus."
        )
    if to_learn and not has_held_out:
        _measure_on_training_text(count, paths)
    return count


def _learn_from_all(count: CorpusCount, paths: Sequence[Path], segments: Segments) -> None:
    count.measured_on = _TOO_LITTLE
    for path in paths:
        for document, _ in parted_documents(path, Quarantine()):
            count.learn_from(document, segments)


def parted_documents(path: Path, quarantine: Quarantine) -> Iterator[tuple[Document, bool]]:
    """Yield a text's documents, each with whether it is held out: measured on, and learned from by no method."""
    has_split = is_corpus_artifact(path) and _has_valid_split(path)
    for document in _documents(path, quarantine):
        yield document, not has_split and in_valid_split(document.text, HELD_OUT_FRACTION)
    if has_split:
        for document in read_documents([path], quarantine, split="valid"):
            yield document, True


def is_corpus_artifact(path: Path) -> bool:
    """Say whether a path is a corpus that `hanlm corpus build` published."""
    manifest = read_manifest(path) if path.is_dir() else None
    return manifest is not None and manifest["kind"] == "corpus"


def _has_valid_split(path: Path) -> bool:
    manifest = read_manifest(path)
    return manifest is not None and any(name.startswith("valid-") for name in manifest["files"])


def _documents(path: Path, quarantine: Quarantine) -> Iterator[Document]:
    # A line is unit enough: no segment crosses one, and one huge text file is then no huge document.
    return read_documents([path], quarantine, txt_unit="line", split="train")


def _measure_on_training_text(count: CorpusCount, paths: Sequence[Path]) -> None:
    count.measured_on = _TOO_LITTLE
    for path in paths:
        for document in _documents(path, Quarantine()):
            count.hold_out(document)
