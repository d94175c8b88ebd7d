"""The documents that every model is scored on: read strictly, sampled deterministically, hashed."""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from hanlm.config import split_named_path
from hanlm.errors import InputError
from hanlm.quarantine import MAX_QUARANTINED, Quarantine
from hanlm.records import Document, TxtUnit, read_documents
from hanlm.text import MIN_HAN_RATIO, han_ratio


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleLimits:
    """How much of each domain is scored; None is all of it."""

    max_documents: int | None
    """Most documents of a domain."""
    max_bytes: int | None
    """Most UTF-8 bytes of a domain; at least one document is kept."""
    seed: int
    """Chooses which documents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What is scored."""

    documents: list[Document]
    """By domain, each in its random order."""
    num_read: Counter[str]
    """Readable documents by domain, before sampling."""
    num_empty: int
    """Documents without text, which are left out."""
    documents_hash: str
    """Hash over the texts, in order."""


class _DomainSample:
    """Keeps the documents with the smallest keys that fit, in memory bounded by the limits."""

    def __init__(self, limits: SampleLimits) -> None:
        self.limits = limits
        self.num_bytes = 0
        self.cutoff: str | None = None
        self.heap: list[tuple[_Descending, int, Document]] = []

    def offer(self, key: str, order: int, document: Document) -> None:
        if self.cutoff is not None and key >= self.cutoff:
            return
        heapq.heappush(self.heap, (_Descending(key), order, document))
        self.num_bytes += num_bytes(document.text)
        while len(self.heap) > 1 and self._is_too_much():
            largest, _, dropped = heapq.heappop(self.heap)
            self.num_bytes -= num_bytes(dropped.text)
            self.cutoff = largest.key

    def _is_too_much(self) -> bool:
        documents, size = self.limits.max_documents, self.limits.max_bytes
        return (documents is not None and len(self.heap) > documents) or (size is not None and self.num_bytes > size)


@dataclass(frozen=True, slots=True)
class _Descending:
    key: str

    def __lt__(self, other: "_Descending") -> bool:
        return self.key > other.key


def sample_documents(documents: Iterable[Document], limits: SampleLimits) -> Sample:
    """Return the sample of each domain: the documents first in a random order that only the seed and texts decide.

    So the same documents come out whatever the order of the files, and a larger limit only adds to a smaller one.

    Raises:
        InputError: If there is no text at all.
    """
    domains: dict[str, _DomainSample] = {}
    num_read: Counter[str] = Counter()
    num_empty = 0
    for order, document in enumerate(documents):
        if not document.text:
            num_empty += 1
            continue
        num_read[document.domain] += 1
        key = sha256(f"{limits.seed}\0{document.text}".encode()).hexdigest()
        domains.setdefault(document.domain, _DomainSample(limits)).offer(key, order, document)
    chosen = [
        document
        for _, domain in sorted(domains.items())
        for _, _, document in sorted(domain.heap, key=lambda entry: (entry[0].key, entry[1]))
    ]
    if not chosen:
        raise InputError("expected texts to score, got only empty or unreadable ones; pass other --data.")
    return Sample(
        documents=chosen,
        num_read=num_read,
        num_empty=num_empty,
        documents_hash=documents_hash(document.text for document in chosen),
    )


def read_data(
    data: Sequence[str],
    quarantine: Quarantine,
    *,
    txt_unit: TxtUnit,
    lang: str | None = None,
    max_quarantined: float = MAX_QUARANTINED,
) -> Iterable[Document]:
    """Yield the documents of every ``PATH`` or ``DOMAIN=PATH``; of a corpus artifact its held-out split.

    Documents that name no language get ``lang``; without it they are Chinese where they are written in Han.

    Raises:
        InputError: At the end, if more than ``max_quarantined`` of the records could not be read.
    """
    for entry in data:
        domain, path = split_named_path(entry)
        for document in read_documents([path], quarantine, txt_unit=txt_unit, lang=lang, split="valid"):
            known = document if document.lang else replace(document, lang=_guessed_language(document.text))
            yield known if domain is None else replace(known, domain=domain)
    quarantine.check(max_quarantined)


def _guessed_language(text: str) -> str:
    return "zh" if han_ratio(text) >= MIN_HAN_RATIO else ""


def documents_hash(texts: Iterable[str]) -> str:
    """Return a hash of texts in their order, over each one's length and bytes."""
    total = sha256()
    for text in texts:
        data = text.encode()
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def num_bytes(text: str) -> int:
    """Return the length of a text in UTF-8 bytes."""
    return len(text.encode())
