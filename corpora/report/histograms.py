"""What the measuring steps counted, as histograms."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from corpora.filters.language import TAGS
from corpora.funnel import Funnel
from corpora.steps.labels import by_value
from corpora.steps.measuring import LENGTH_EDGES
from hanlm.text import CHAR_CLASSES


def histograms(funnel: Funnel) -> dict[str, Any]:
    """Return the key ``histograms`` of ``report.json``; what no step measured is left out."""
    read, kept = (_measured(funnel, name) for name in ("read", "kept"))
    found: dict[str, Any] = {"length_edges": [0, *LENGTH_EDGES], "length": {}}
    for name, counts in (("read", read), ("kept", kept)):
        if counts:
            found["length"][name] = _lengths(counts)
    if kept:
        chars = by_value(kept, "script_chars")
        by_domain, declared = _crossed(kept, "script"), _crossed(kept, "declared")
        found |= {
            "char_classes": {name: by_value(kept, "class")[name] for name in CHAR_CLASSES},
            "script": {
                tag: {"documents": sum(by_domain[tag].values()), "chars": chars[tag]} for tag in _in_order(by_domain)
            },
            "script_by_domain": _turned(by_domain),
            "declared_by_identified": _turned(declared),
        }
    return found


def _measured(funnel: Funnel, name: str) -> Mapping[str, int]:
    return next((step.counts for step in funnel.steps if (step.kind, step.name) == ("measure", name)), {})


def _lengths(counts: Mapping[str, int]) -> dict[str, list[int]]:
    """By domain, the documents of each bin."""
    bins: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(LENGTH_EDGES) + 1))
    for name, count in by_value(counts, "length").items():
        number, _, domain = name.partition("/")
        bins[domain][int(number)] = count
    return dict(sorted(bins.items()))


def _crossed(counts: Mapping[str, int], what: str) -> dict[str, dict[str, int]]:
    """Counts of ``what/A/B`` as a table, A by B; A holds no slash, B may."""
    table: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, count in sorted(by_value(counts, what).items()):
        a, _, b = name.partition("/")
        table[a][b] = count
    return dict(table)


def _turned(table: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    names = sorted({b for row in table.values() for b in row})
    return {b: {a: table[a][b] for a in _in_order(table) if b in table[a]} for b in names}


def _in_order(tags: Iterable[str]) -> list[str]:
    found = set(tags)
    return [tag for tag in TAGS if tag in found]
