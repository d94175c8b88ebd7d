"""All figures of the corpus report by stable names: what ``report.json`` holds, and what the page shows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpora.funnel import Funnel
from corpora.report.flow import FlowStep, flow
from corpora.report.histograms import histograms
from corpora.report.tokens import with_overall
from corpora.steps.labels import by_value

type Sample = dict[str, Any]
type Mask = Callable[[str], str]

_EXTRA_COUNTS = ("lines", "passages", "chars")
_SHOWN_CHARS = 600


def report_figures(
    funnel: Funnel,
    samples: Mapping[str, Mapping[str, Sequence[Sample]]],
    *,
    quarantined: Sequence[Mapping[str, Any]] = (),
    contaminated: Sequence[Mapping[str, Any]] = (),
    tokens_per_char: Mapping[str, Any] | None = None,
    mask: Mask | None = None,
) -> dict[str, Any]:
    """Return the figures; names are added to in later versions, never renamed.

    Args:
        funnel: The counts of all steps.
        samples: By step, and by reason (of cleaners ``changed``, of the step ``kept`` by domain).
        quarantined: Some of the records that could not be read.
        contaminated: Some of the documents that held evaluation texts.
        tokens_per_char: What ``tokens_per_char`` measured, where a tokenizer was given.
        mask: Hides personal data in what is shown; given where the corpus itself is masked.
    """
    steps = flow(funnel)
    keys = funnel.manifest_keys()
    chars = {name: each["chars_kept"] for name, each in keys["domains"].items()}
    hide: Mask = mask or str
    return {
        "schema": 1,
        "counts": keys["counts"],
        "steps": [_step(step) for step in steps],
        "dropped": keys["counts"]["documents_dropped"],
        "quarantined": keys["counts"]["quarantined"],
        "quarantined_records": [{**entry, "excerpt": hide(entry["excerpt"])} for entry in quarantined],
        "domains": keys["domains"],
        "licenses": keys["licenses"],
        "histograms": histograms(funnel),
        "masked": _masked(steps),
        "contaminated": [_hidden(entry, hide) | {"file": Path(entry["file"]).name} for entry in contaminated],
        "tokens_per_char": tokens_per_char and with_overall(tokens_per_char, chars),
        "samples": {
            step: {kind: [_sample(one, hide) for one in each] for kind, each in sorted(kinds.items())}
            for step, kinds in samples.items()
        },
    }


def _step(step: FlowStep) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "kind": step.kind,
        "name": step.name,
        "documents_in": step.documents_in,
        "documents_out": step.documents_out,
        "bytes_in": step.bytes_in,
        "bytes_out": step.bytes_out,
        "dropped": dict(step.dropped),
        "domains_in": dict(step.domains_in),
        "dropped_by_domain": {domain: dict(reasons) for domain, reasons in step.dropped_by_domain.items()},
    }
    if "changed" in step.counts:
        figures["changed"] = step.counts["changed"]
        figures["changed_by_domain"] = dict(sorted(by_value(step.counts, "changed").items()))
        figures["chars_removed"] = step.counts.get("chars", 0) + (
            step.counts.get("chars_in", 0) - step.counts.get("chars_out", 0)
        )
    return figures | {name: step.counts[name] for name in _EXTRA_COUNTS if name in step.counts}


def _masked(steps: Sequence[FlowStep]) -> dict[str, int]:
    found = sum((by_value(step.counts, "masked") for step in steps), Counter[str]())
    return dict(sorted(found.items()))


def _sample(sample: Sample, hide: Mask) -> Sample:
    shown = _hidden({name: value for name, value in sample.items() if name not in ("kind", "key")}, hide)
    return shown | ({"text": shown["text"][:_SHOWN_CHARS]} if "text" in shown else {})


def _hidden(sample: Mapping[str, Any], hide: Mask) -> Sample:
    """Every text of a sample masked, that of the kept copy too."""
    return {
        name: _hidden(value, hide)
        if isinstance(value, Mapping)
        else hide(value)
        if isinstance(value, str) and name not in ("id", "domain")
        else value
        for name, value in sample.items()
    }
