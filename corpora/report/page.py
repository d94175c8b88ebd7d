"""The corpus report as a page, out of the figures of ``report.json`` and nothing else."""

from collections.abc import Mapping
from typing import Any

from corpora.report.contents import add_domains, add_kept, add_languages, add_lengths
from corpora.report.judging import add_cleaners, add_filters
from corpora.report.leftovers import add_contaminated, add_duplicates, add_masked, add_quarantine, add_tokens
from corpora.report.numbers import byte_size, counted, listed, share
from hanlm.page import Card, Page
from hanlm.page_bars import Bar, BarRow

type Figures = Mapping[str, Any]


def corpus_page(figures: Figures) -> Page:
    """Return the page: the funnel first, then every filter with what it dropped, then what is left."""
    counts = figures["counts"]
    lost = sum(figures["dropped"].values()) + sum(figures["quarantined"].values())
    page = Page(
        "Corpus report",
        f"{counted(counts['documents_in'], 'document')} came in, {counts['documents_kept']:,} "
        f"stayed, {lost:,} went, each for a reason that is shown here.",
    )
    _add_cards(page, figures)
    _add_funnel(page, figures)
    _add_steps(page, figures)
    add_filters(page, figures)
    add_cleaners(page, figures)
    add_lengths(page, figures)
    add_languages(page, figures)
    add_domains(page, figures)
    add_kept(page, figures)
    add_duplicates(page, figures)
    add_masked(page, figures)
    add_contaminated(page, figures)
    add_tokens(page, figures)
    add_quarantine(page, figures)
    return page


def _add_cards(page: Page, figures: Figures) -> None:
    counts = figures["counts"]
    read, kept = counts["documents_in"], counts["documents_kept"]
    chars = sum(each["chars_kept"] for each in figures["domains"].values())
    cards = [
        Card(label="Documents kept", value=f"{kept:,}", note=f"{share(kept, read)} of {read:,}"),
        Card(
            label="Bytes kept",
            value=byte_size(counts["bytes_kept"]),
            note=f"{share(counts['bytes_kept'], counts['bytes_in'])} of {byte_size(counts['bytes_in'])}",
        ),
        Card(label="Characters kept", value=f"{chars:,}", note=f"{chars / kept if kept else 0:,.0f} a document"),
        Card(
            label="Held out",
            value=f"{counts['documents_valid']:,}",
            note=f"{share(counts['documents_valid'], kept)} of the documents kept",
        ),
    ]
    bad = sum(figures["quarantined"].values())
    if bad:
        cards.append(Card(label="Could not be read", value=f"{bad:,}", note=listed(figures["quarantined"]), tone="bad"))
    page.cards(cards)


def _add_funnel(page: Page, figures: Figures) -> None:
    page.section("The funnel")
    steps = [step for step in figures["steps"] if _does_something(step)]
    counts = figures["counts"]
    bad = sum(figures["quarantined"].values())
    all_documents, all_bytes = counts["documents_in"], counts["bytes_in"]
    rows = [_funnel_row("read", "", (all_documents - bad, bad, all_documents), (all_bytes, 0, all_bytes))]
    if bad:
        rows[0] = _funnel_row(
            "read",
            f"unreadable: {listed(figures['quarantined'])}",
            (all_documents - bad, bad, all_documents),
            (all_bytes, 0, all_bytes),
        )
    for step in steps:
        lost = step["documents_in"] - step["documents_out"]
        sizes = step["bytes_in"], step["bytes_out"]
        bytes_lost = None if None in sizes else sizes[0] - sizes[1]
        rows.append(
            _funnel_row(
                step["name"],
                listed(step["dropped"]),
                (step["documents_out"], lost, all_documents),
                (step["bytes_out"], bytes_lost, all_bytes),
            )
        )
    kept = counts["documents_kept"], counts["bytes_kept"]
    rows.append(_funnel_row("kept", "", (kept[0], 0, all_documents), (kept[1], 0, all_bytes)))
    page.bars(
        ("Documents", "Bytes"),
        rows,
        "What is left after each step (blue) and what that step took away (red), as shares of what came in. Cleaners "
        "take bytes out of documents that stay. Steps that changed nothing are in the table below alone.",
    )


def _funnel_row(
    name: str, note: str, documents: tuple[int, int, int], sizes: tuple[int | None, int | None, int]
) -> BarRow:
    left, lost, of = documents
    text = f"{left:,}" + (f" (−{lost:,})" if lost else "")
    bars = [Bar(text=text, parts=_parts(left, lost, of))]
    size, size_lost, size_of = sizes
    if size is None:
        bars.append(Bar(text="not counted", parts=()))
    else:
        change = f" ({'−' if size_lost > 0 else '+'}{byte_size(abs(size_lost))})" if size_lost else ""
        bars.append(Bar(text=byte_size(size) + change, parts=_parts(size, size_lost or 0, size_of)))
    return BarRow(label=name, note=note, bars=bars)


def _parts(left: int, lost: int, of: int) -> Any:
    return [] if not of else [(min(1.0, left / of), "main"), (min(1.0, max(0, lost) / of), "lost")]


def _add_steps(page: Page, figures: Figures) -> None:
    page.section("Every step")
    rows = []
    for step in figures["steps"]:
        lost = step["documents_in"] - step["documents_out"]
        rows.append(
            (
                f"{step['kind']} {step['name']}",
                step["documents_in"],
                step["documents_out"],
                lost,
                share(lost, step["documents_in"]),
                step.get("changed"),
                step.get("chars_removed"),
                byte_size(step["bytes_out"]),
            )
        )
    headers = ("Step", "In", "Out", "Dropped", "Share", "Changed", "Characters removed", "Bytes left")
    page.table(headers, rows, caption="Documents through the steps, in their order")
    dropped = [
        (step["name"], reason, count, share(count, step["documents_in"]))
        for step in figures["steps"]
        for reason, count in step["dropped"].items()
    ]
    if dropped:
        headers = ("Step", "Reason", "Documents", "Share")
        page.table(
            headers, dropped, caption="Documents dropped, by reason, and their share of those that reached the step"
        )


def _does_something(step: Mapping[str, Any]) -> bool:
    return bool(step["dropped"]) or bool(step.get("changed")) or step["bytes_in"] != step["bytes_out"]
