"""The part of the page that tells what is in the corpus: lengths, languages, domains, samples of what stayed."""

from collections.abc import Mapping, Sequence
from typing import Any

from corpora.report.numbers import MAX_ROWS, byte_size, counted, largest, share
from hanlm.page import Page
from hanlm.page_bars import Bar, BarRow, Tone
from hanlm.page_excerpts import Excerpt

_MAX_HISTOGRAMS = 16
_KEPT_SAMPLES = 3
_TAG_NAMES = {
    "zh-Hans": "Chinese, simplified",
    "zh-Hant": "Chinese, traditional",
    "zh-Hani": "Chinese, both scripts mixed",
    "yue-Hans": "Cantonese, simplified",
    "yue-Hant": "Cantonese, traditional",
    "yue-Hani": "Cantonese, both scripts mixed",
    "ja": "Japanese",
    "ko": "Korean",
    "en": "English",
    "other": "other, or no letters",
}


def add_lengths(page: Page, figures: Mapping[str, Any]) -> None:
    """Add histograms of the documents' lengths as read and as kept."""
    lengths = figures["histograms"]["length"]
    if not lengths:
        return
    page.section("Lengths")
    edges = figures["histograms"]["length_edges"]
    everything = {name: _summed(list(by_domain.values()), len(edges)) for name, by_domain in lengths.items()}
    _add_histogram(page, edges, everything, "Characters of a document, as read (grey) and as kept (blue).")
    kept = lengths.get("kept") or lengths["read"]
    shown, _ = largest({domain: sum(bins) for domain, bins in kept.items()})
    if len(shown) > 1:
        with page.fold("By domain", counted(min(len(shown), _MAX_HISTOGRAMS), "domain")):
            for domain in shown[:_MAX_HISTOGRAMS]:
                series = {name: by_domain.get(domain, [0] * len(edges)) for name, by_domain in lengths.items()}
                _add_histogram(page, edges, series, domain)


def add_languages(page: Page, figures: Mapping[str, Any]) -> None:
    """Add languages and scripts as found in the characters, beside what the sources say."""
    found = figures["histograms"]
    if "script" not in found:
        return
    page.section("Languages and scripts")
    page.bars(
        ("Documents", "Characters"),
        [
            BarRow(
                label=_TAG_NAMES[tag],
                note=tag,
                bars=[_share_bar(found["script"], tag, name) for name in ("documents", "chars")],
            )
            for tag in found["script"]
        ],
        "Kept documents by the language and script that their characters show.",
    )
    classes = {name: {"chars": count} for name, count in found["char_classes"].items()}
    page.bars(
        ("Characters",),
        [BarRow(label=name, bars=[_share_bar(classes, name, "chars")]) for name in classes],
        "Characters of the kept documents by class.",
    )
    for key, first, caption in (
        ("declared_by_identified", "Declared", "Language that the source declares, and what was found"),
        ("script_by_domain", "Domain", "Language and script by domain, documents"),
    ):
        tags = list(found["script"])
        shown, _ = largest({name: sum(row.values()) for name, row in found[key].items()})
        rows = [(name or "(none)", *(found[key][name].get(tag, 0) for tag in tags)) for name in shown]
        page.table((first, *tags), rows, caption=caption)


def add_domains(page: Page, figures: Mapping[str, Any]) -> None:
    """Add what each domain brought in and kept, and under which licences."""
    page.section("Domains and licences")
    domains = figures["domains"]
    chars = sum(each["chars_kept"] for each in domains.values())
    shown, others = largest({name: each["bytes_in"] for name, each in domains.items()})
    groups = [(name, [name]) for name in shown] + ([(f"{len(others)} others", others)] if others else [])
    rows: list[Sequence[Any]] = []
    for name, members in groups:
        total = {column: sum(domains[each][column] for each in members) for column in domains[members[0]]}
        rows.append(
            (
                name,
                total["documents_in"],
                total["documents_kept"],
                share(total["documents_kept"], total["documents_in"]),
                total["documents_valid"],
                byte_size(total["bytes_in"]),
                byte_size(total["bytes_kept"]),
                total["chars_kept"],
                share(total["chars_kept"], chars),
            )
        )
    headers = ("Domain", "In", "Kept", "Share kept", "Held out", "Bytes in", "Bytes kept", "Characters", "Of all")
    page.table(headers, rows, caption="Domains, the largest first")
    licenses = figures["licenses"]
    kept = sum(licenses.values())
    names, _ = largest(licenses)
    rows = [(name or "(none given)", licenses[name], share(licenses[name], kept)) for name in names]
    page.table(("Licence", "Documents kept", "Share"), rows, caption="Licences, as the sources name them")


def add_kept(page: Page, figures: Mapping[str, Any]) -> None:
    """Add samples of what stayed: a filter is judged by what it lets pass, too."""
    samples = figures["samples"].get("kept", {})
    if not samples:
        return
    page.section("What stayed")
    for domain in list(samples)[:MAX_ROWS]:
        documents = counted(figures["domains"][domain]["documents_kept"], "document")
        with page.fold(domain, documents):
            for sample in samples[domain][:_KEPT_SAMPLES]:
                text = sample["text"] + ("…" if sample["num_chars"] > len(sample["text"]) else "")
                chars = counted(sample["num_chars"], "character")
                page.excerpts(Excerpt(label=f"{sample['id']} · {chars}", text=text))


def _add_histogram(page: Page, edges: Sequence[int], series: Mapping[str, Sequence[int]], caption: str) -> None:
    filled = [at for at in range(len(edges)) if any(bins[at] for bins in series.values())]
    if not filled:
        return
    shown = range(min(filled), max(filled) + 1)
    tones: Mapping[str, Tone] = {"read": "pale", "kept": "main"}
    page.columns(
        [_edge(edges[at]) for at in shown],
        [_hint(edges, at, series) for at in shown],
        {name: ([bins[at] for at in shown], tones[name]) for name, bins in series.items()},
        unit="documents",
        caption=caption,
    )


def _edge(edge: int) -> str:
    """Only powers of ten are written below the columns."""
    if edge and str(edge).strip("0") != "1":
        return ""
    return f"{edge // 10**6}M" if edge >= 10**6 else f"{edge // 1000}k" if edge >= 1000 else str(edge)


def _hint(edges: Sequence[int], at: int, series: Mapping[str, Sequence[int]]) -> str:
    upto = f"{edges[at]:,} to {edges[at + 1] - 1:,}" if at + 1 < len(edges) else f"{edges[at]:,} and more"
    is_one = at + 1 < len(edges) and edges[at + 1] - 1 == edges[at]
    counts = ", ".join(f"{bins[at]:,} {name}" for name, bins in series.items())
    return f"{edges[at] if is_one else upto} characters: {counts}"


def _summed(rows: Sequence[Sequence[int]], length: int) -> list[int]:
    return [sum(row[at] for row in rows) for at in range(length)]


def _share_bar(table: Mapping[str, Mapping[str, int]], row: str, column: str) -> Bar:
    count, total = table[row][column], sum(each[column] for each in table.values())
    return Bar(text=f"{count:,} ({share(count, total)})", parts=[(count / total if total else 0.0, "main")])
