"""Documents and bytes followed through the steps: how many reached each, how many left it, and of which domains."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from corpora.engine.counts import StepCounts
from corpora.funnel import Funnel
from corpora.steps.labels import by_value
from corpora.steps.losses import BYTES_LOST, LOST


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowStep:
    """One step as the documents met it."""

    kind: str
    name: str
    documents_in: int
    documents_out: int
    bytes_in: int | None
    """None after a step that does not count bytes."""
    bytes_out: int | None
    dropped: Mapping[str, int]
    """Documents by reason."""
    domains_in: Mapping[str, int]
    """Documents that came in, by domain; without those that a step dropped and did not count by domain."""
    dropped_by_domain: Mapping[str, Mapping[str, int]]
    """Documents by domain and reason."""
    counts: Mapping[str, int]
    """Whatever the step counted."""

    @property
    def bytes_lost(self) -> int | None:
        """Bytes that were dropped or cut out."""
        return None if self.bytes_in is None or self.bytes_out is None else self.bytes_in - self.bytes_out


def flow(funnel: Funnel) -> list[FlowStep]:
    """Return the steps that can take something away, in their order."""
    domains = Counter({name: counts["documents_in"] for name, counts in funnel.domains().items()})
    documents = domains.total()
    num_bytes: int | None = funnel.total("bytes_in")
    steps: list[FlowStep] = []
    for step in funnel.steps:
        if BYTES_LOST not in step.counts and not step.dropped:  # reads, measures, signs, writes
            continue
        by_domain = _by_domain(step)
        after = documents - step.dropped.total()
        bytes_after = (
            None if num_bytes is None or BYTES_LOST not in step.counts else num_bytes - step.counts[BYTES_LOST]
        )
        steps.append(
            FlowStep(
                kind=step.kind,
                name=step.name,
                documents_in=documents,
                documents_out=after,
                bytes_in=num_bytes,
                bytes_out=bytes_after,
                dropped=dict(sorted(step.dropped.items())),
                domains_in=dict(sorted(domains.items())),
                dropped_by_domain=by_domain,
                counts=step.counts,
            )
        )
        domains -= Counter({domain: sum(reasons.values()) for domain, reasons in by_domain.items()})
        documents, num_bytes = after, bytes_after
    return steps


def _by_domain(step: StepCounts) -> dict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, count in sorted(by_value(step.counts, LOST).items()):
        reason, _, domain = name.partition("/")
        found[domain][reason] = count
    return dict(sorted(found.items()))
