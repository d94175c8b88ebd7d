"""The part of the page that filters and cleaners are judged by: what each did to which domains, and samples of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from corpora.registry import STEPS
from corpora.report.numbers import byte_size, counted, largest, share
from corpora.steps.cleaning import SHOWN_CHARS
from hanlm.page import Page
from hanlm.page_excerpts import Excerpt, differences

_MAX_REASONS = 5


def add_filters(page: Page, figures: Mapping[str, Any]) -> None:
    """Add every step that dropped documents: by reason and domain, with samples."""
    steps = [step for step in figures["steps"] if step["dropped"]]
    if not steps:
        return
    page.section("What was dropped")
    page.paragraph(
        "Open a step and read its samples: would you miss these texts? A filter that is right drops few documents of "
        "domains you trust. The samples are chosen by the hash of their ids, not by hand, and show how texts begin."
    )
    for step in steps:
        lost = sum(step["dropped"].values())
        size = ""
        if step["bytes_in"] is not None and step["bytes_out"] is not None:
            size = f", {byte_size(step['bytes_in'] - step['bytes_out'])}"
        came = counted(step["documents_in"], "document")
        with page.fold(step["name"], f"dropped {lost:,} of {came} ({share(lost, step['documents_in'])}){size}"):
            if info := STEPS.get(step["name"]):
                page.paragraph(_as_sentence(info.description))
            _add_domains(page, step)
            for reason, count in step["dropped"].items():
                _add_samples(page, reason, count, figures["samples"].get(step["name"], {}).get(reason, []))


def add_cleaners(page: Page, figures: Mapping[str, Any]) -> None:
    """Add every cleaner that changed documents, with texts before and after."""
    steps = [step for step in figures["steps"] if step.get("changed")]
    if not steps:
        return
    page.section("What was changed")
    page.paragraph(
        "Each sample shows the surroundings of a document's first change, before and after. What differs is marked; "
        "in it ␣ stands for a blank and ↵ for the end of a line."
    )
    for step in steps:
        changed, came = step["changed"], counted(step["documents_in"], "document")
        removed = step["chars_removed"]
        chars = f"{counted(abs(removed), 'character')} {'removed' if removed >= 0 else 'added'}"
        note = f"changed {changed:,} of {came} ({share(changed, step['documents_in'])}), {chars}"
        with page.fold(step["name"], note):
            if info := STEPS.get(step["name"]):
                page.paragraph(_as_sentence(info.description))
            for sample in figures["samples"].get(step["name"], {}).get("changed", []):
                _add_change(page, sample)
            _add_changed_domains(page, step)


def _add_domains(page: Page, step: Mapping[str, Any]) -> None:
    lost, came = step["dropped_by_domain"], step["domains_in"]
    if not lost:
        return
    columns = _columns(step["dropped"])
    shown, others = largest({domain: sum(counts.values()) for domain, counts in lost.items()})
    groups = [(domain, [domain]) for domain in shown] + ([(f"{len(others)} others", others)] if others else [])
    rows: list[Sequence[Any]] = []
    for name, domains in groups:
        total = sum(came.get(domain, 0) for domain in domains)
        dropped = sum(sum(lost[domain].values()) for domain in domains)
        each = [
            sum(lost[domain].get(reason, 0) for domain in domains for reason in reasons) or None
            for reasons in columns.values()
        ]
        rows.append((name, total, dropped, share(dropped, total), *each))
    headers = ["Domain", "In", "Dropped", "Share", *columns]
    untouched = len(set(came) - set(lost))
    caption = "Dropped by domain" + (f"; {counted(untouched, 'other domain')} lost nothing" if untouched else "")
    page.table(headers, rows, caption=caption)


def _columns(dropped: Mapping[str, int]) -> dict[str, list[str]]:
    """Return a table's columns of reasons: the commonest, and all others together; none for a single reason."""
    if len(dropped) == 1:
        return {}
    order = sorted(dropped, key=lambda reason: (-dropped[reason], reason))
    shown, others = order[:_MAX_REASONS], order[_MAX_REASONS:]
    columns = {reason.replace("_", " "): [reason] for reason in shown}  # a browser breaks headers at blanks alone
    return columns | ({f"{len(others)} more": others} if others else {})


def _add_samples(page: Page, reason: str, count: int, samples: Sequence[Mapping[str, Any]]) -> None:
    page.paragraph(f"{reason}: {len(samples)} of {counted(count, 'document')}")
    for sample in samples:
        copy = sample.get("copy_of")
        if not copy:
            page.excerpts(Excerpt(label=_label(sample), text=_beginning(sample)))
            continue
        kept, gone = differences(copy["text"], sample["text"], are_cut=True)
        is_shown = any(is_marked for _, is_marked in (*kept, *gone))
        page.excerpts(
            Excerpt(label=_label(sample), text=gone if is_shown else _beginning(sample)),
            Excerpt(label=f"the copy that stayed: {_label(copy)}", text=kept if is_shown else _beginning(copy)),
        )


def _add_change(page: Page, sample: Mapping[str, Any]) -> None:
    before, after = sample["before"], sample["after"]
    are_cut = max(len(before), len(after)) >= SHOWN_CHARS
    old, new = differences(before, after, are_cut=are_cut)
    if not any(is_marked for _, is_marked in (*old, *new)):  # what was changed is hidden here, as personal data is
        page.excerpts(Excerpt(label=f"{_label(sample)}, after", text=after))
        return
    page.excerpts(
        Excerpt(label=f"{_label(sample)}, before", text=old), Excerpt(label="after", text=new or "(nothing is left)")
    )


def _add_changed_domains(page: Page, step: Mapping[str, Any]) -> None:
    changed, came = step["changed_by_domain"], step["domains_in"]
    shown, _ = largest(changed)
    rows = [(name, came.get(name, 0), changed[name], share(changed[name], came.get(name, 0))) for name in shown]
    if rows:
        page.table(("Domain", "In", "Changed", "Share"), rows, caption="Changed by domain")


def _as_sentence(description: str) -> str:
    return f"{description[0].upper()}{description[1:]}."


def _label(sample: Mapping[str, Any]) -> str:
    chars = counted(sample["num_chars"], "character") if "num_chars" in sample else ""
    parts = (sample.get("id", ""), sample.get("domain", ""), chars, sample.get("why", ""))
    return " · ".join(part for part in parts if part)


def _beginning(sample: Mapping[str, Any]) -> str:
    text = sample["text"]
    if not text.strip():
        return "(nothing but blanks)" if text else "(empty)"
    return text + ("…" if sample.get("num_chars", 0) > len(text) else "")
