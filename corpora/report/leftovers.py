"""The part of the page on what is not always there: duplicates, masked data, evaluation texts, unreadable records."""

from collections.abc import Mapping, Sequence
from typing import Any

from corpora.report.numbers import largest, share
from hanlm.page import Page

_CUTS = {"lines": "repeated lines cut out", "passages": "repeated passages cut out", "chars": "characters cut out"}


def add_duplicates(page: Page, figures: Mapping[str, Any]) -> None:
    """Add what deduplication dropped and cut out."""
    rows: list[Sequence[Any]] = []
    for step in (step for step in figures["steps"] if step["kind"] == "dedup"):
        for reason, count in step["dropped"].items():
            rows.append((reason, count, share(count, step["documents_in"])))
        rows.extend((text, step[name], None) for name, text in _CUTS.items() if name in step)
    if rows:
        page.section("Duplicates")
        page.table(("What", "Number", "Share of the documents"), rows)


def add_masked(page: Page, figures: Mapping[str, Any]) -> None:
    """Add how much personal data was masked, by type."""
    if figures["masked"]:
        page.section("Personal data masked")
        page.table(("Type", "Number"), list(figures["masked"].items()), caption="Masked by type, in what was read")


def add_contaminated(page: Page, figures: Mapping[str, Any]) -> None:
    """Add the first documents that held evaluation texts."""
    entries = figures["contaminated"]
    if not entries:
        return
    page.section("Evaluation texts found")
    page.table(
        ("Document", "File", "Item", "Overlap", "What it says"),
        [(each["id"], each["file"], each["item"], f"{each['overlap']:.0%}", each["excerpt"]) for each in entries],
        caption="Documents that were left out because they hold an evaluation text",
    )


def add_tokens(page: Page, figures: Mapping[str, Any]) -> None:
    """Add tokens per character by domain, where a tokenizer was given."""
    measured = figures["tokens_per_char"]
    if not measured:
        return
    page.section("Tokens per character")
    overall, domains = measured["overall"], measured["domains"]
    page.paragraph(
        "Counted on the first characters of a few kept documents of each domain: good for planning, not for accounts. "
        f"The corpus has about {overall['tokens']:,} tokens, with every domain at the size it has."
    )
    shown, _ = largest({name: each["chars"] for name, each in domains.items()})
    columns = ("documents", "chars", "tokens", "tokens_per_char")
    page.table(
        ("Domain", "Documents sampled", "Characters", "Tokens", "Tokens per character"),
        [("all", None, None, None, overall["tokens_per_char"])]
        + [(name, *(domains[name][column] for column in columns)) for name in shown],
        caption=f"Tokenizer {measured['tokenizer_hash'][:12]}",
    )


def add_quarantine(page: Page, figures: Mapping[str, Any]) -> None:
    """Add the records that could not be read."""
    counts = figures["quarantined"]
    if not counts:
        return
    page.section("Could not be read")
    page.table(("Reason", "Records"), [(name, count) for name, count in counts.items()])
    entries = figures["quarantined_records"]
    if entries:
        with page.fold("The first of them", "all are in quarantine.jsonl"):
            page.table(
                ("File", "Line", "Reason", "Beginning"),
                [(each["source"], each["line"], each["reason"], each["excerpt"]) for each in entries],
            )
