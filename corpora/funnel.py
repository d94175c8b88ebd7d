"""The funnel: every document that came in is counted as kept, dropped for a reason, or quarantined."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corpora.engine.counts import StepCounts
from corpora.steps.labels import by_value
from hanlm.counts import by_reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Funnel:
    """The counts of all steps of ``hanlm corpus build``, in their order."""

    steps: tuple[StepCounts, ...]
    quarantined: Counter[str] = field(default_factory=Counter[str])
    """Records that could not be read, by reason."""

    @property
    def dropped(self) -> Counter[str]:
        """Documents left out, by reason."""
        return sum((step.dropped for step in self.steps), Counter[str]())

    def of_step(self, kind: str, name: str) -> Mapping[str, int]:
        """Return the counts of one step."""
        return next(step.counts for step in self.steps if (step.kind, step.name) == (kind, name))

    def domains(self) -> dict[str, dict[str, int]]:
        """Return, by domain, what came in and what was kept."""
        read, written = self.of_step("read", "sources"), self.of_step("write", "shards")
        columns = {
            "documents_in": by_value(read, "documents"),
            "documents_kept": by_value(written, "kept"),
            "documents_valid": by_value(written, "valid"),
            "bytes_in": by_value(read, "bytes"),
            "bytes_kept": by_value(written, "bytes"),
            "chars_kept": by_value(written, "chars"),
        }
        names = sorted(columns["documents_in"])
        return {domain: {column: counts[domain] for column, counts in columns.items()} for domain in names}

    def total(self, column: str) -> int:
        """Return the sum of a column of ``domains`` over all domains."""
        return sum(counts[column] for counts in self.domains().values())

    def sentence(self) -> str:
        """Say what became of the documents, for the terminal."""
        kept, valid = self.total("documents_kept"), self.total("documents_valid")
        read = self.total("documents_in") + self.quarantined.total()
        lost = by_reason(self.dropped + self.quarantined)
        return f"documents: {read:,} read, {kept:,} kept ({valid:,} of them held out), {lost} left out"

    def mostly_dropped(self) -> str | None:
        """Return the step that dropped most documents where more than half of all were dropped, else None."""
        if 2 * self.dropped.total() <= self.total("documents_in"):
            return None
        return max(self.steps, key=lambda step: step.dropped.total()).name

    def manifest_keys(self) -> dict[str, Any]:
        """Return ``counts``, ``domains``, ``licenses`` and ``steps`` for the manifest.

        ``documents_in`` is the sum of kept, dropped and quarantined: an unreadable line counts as a document.
        """
        kept, valid = self.total("documents_kept"), self.total("documents_valid")
        return {
            "counts": {
                "documents_in": self.total("documents_in") + self.quarantined.total(),
                "documents_kept": kept,
                "documents_dropped": dict(sorted(self.dropped.items())),
                "quarantined": dict(sorted(self.quarantined.items())),
                "bytes_in": self.total("bytes_in"),
                "bytes_kept": self.total("bytes_kept"),
                "documents_train": kept - valid,
                "documents_valid": valid,
            },
            "domains": self.domains(),
            "licenses": dict(sorted(by_value(self.of_step("write", "shards"), "license").items())),
            "steps": [
                {"kind": step.kind, "name": step.name, "dropped": dict(sorted(step.dropped.items()))}
                for step in self.steps
            ],
        }
