"""The funnel: every document that came in is counted as kept, dropped for a reason, or quarantined."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hanlm.counts import by_reason
from hanlm.quarantine import Quarantine


@dataclass(slots=True)
class _DomainCounts:
    documents_in: int = 0
    documents_kept: int = 0
    documents_valid: int = 0
    bytes_in: int = 0
    bytes_kept: int = 0
    chars_kept: int = 0


@dataclass(slots=True)
class Funnel:
    """Counts documents and UTF-8 bytes of text on their way through ``hanlm corpus build``."""

    quarantine: Quarantine
    """Counts what could not be read."""
    dropped: Counter[str] = field(default_factory=Counter[str])
    """Documents left out, by reason."""
    licenses: Counter[str] = field(default_factory=Counter[str])
    """Kept documents by licence; the empty string where none is named."""
    domains: dict[str, _DomainCounts] = field(default_factory=dict[str, _DomainCounts])
    """The same counts for each domain."""

    def enter(self, domain: str, text: str) -> None:
        """Count a document as read; ``text`` is as it came."""
        counts = self.domains.setdefault(domain, _DomainCounts())
        counts.documents_in += 1
        counts.bytes_in += len(text.encode("utf-8", "surrogatepass"))

    def keep(self, domain: str, text: str, license: str, *, is_valid: bool) -> None:
        """Count a document as kept; ``text`` is as it was written."""
        counts = self.domains[domain]
        counts.documents_kept += 1
        counts.documents_valid += is_valid
        counts.bytes_kept += len(text.encode("utf-8"))
        counts.chars_kept += len(text)
        self.licenses[license] += 1

    def total(self, name: str) -> int:
        """Return the sum of one count over all domains."""
        return sum(getattr(counts, name) for counts in self.domains.values())

    def sentence(self) -> str:
        """Say what became of the documents, for the terminal."""
        kept, valid = self.total("documents_kept"), self.total("documents_valid")
        read = self.total("documents_in") + self.quarantine.counts.total()
        lost = by_reason(self.dropped + self.quarantine.counts)
        return f"documents: {read:,} read, {kept:,} kept ({valid:,} of them held out), {lost} left out"

    def manifest_keys(self) -> dict[str, Any]:
        """Return ``counts``, ``domains`` and ``licenses`` for the manifest.

        ``documents_in`` is the sum of kept, dropped and quarantined: an unreadable line counts as a document.
        """
        quarantined = self.quarantine.counts
        return {
            "counts": {
                "documents_in": self.total("documents_in") + quarantined.total(),
                "documents_kept": self.total("documents_kept"),
                "documents_dropped": dict(sorted(self.dropped.items())),
                "quarantined": dict(sorted(quarantined.items())),
                "bytes_in": self.total("bytes_in"),
                "bytes_kept": self.total("bytes_kept"),
                "documents_train": self.total("documents_kept") - self.total("documents_valid"),
                "documents_valid": self.total("documents_valid"),
            },
            "domains": {
                domain: {name: getattr(counts, name) for name in _DomainCounts.__slots__}
                for domain, counts in sorted(self.domains.items())
            },
            "licenses": dict(sorted(self.licenses.items())),
        }
