"""``vocab_report.json`` and ``vocab_report.html``: what was added, what it saves, and that nothing broke."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanlm.page import Card, Page
from tokenizer.advice import Advice
from tokenizer.advice_page import advice_section
from tokenizer.base import Base
from tokenizer.count import CorpusCount
from tokenizer.forms import Forms
from tokenizer.measure import Measure
from tokenizer.verify import Verification
from tokenizer.vocabulary import Vocabulary

SAMPLES: Final = (
    "早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去。",
    "酒店的房间很干净，服务员也很热情，下次来北京还会住这里。",
    "他说：“先读两遍，再写 summary.txt。”——然后关上了门。",
)
"""Our own sentences, shown in the base's pieces and in the extended tokenizer's."""

_NUM_LISTED = 60
_NUM_CURVES = 12


@dataclass(frozen=True, slots=True)
class Result:
    """Everything the report tells."""

    base: Base
    old: Forms
    new: Forms
    corpus: CorpusCount
    vocabulary: Vocabulary
    verification: Verification
    measure: Measure | None
    """None where no text was given to measure on."""
    advice: Advice | None
    """None where the pieces were merged from another model."""
    num_requested: int | None
    """None where all that fit were asked for."""
    num_rows: int | None
    """Rows of the model's vocabulary matrices, padding included; None without a model."""
    num_original: int | None
    """Tokens before the base was extended for the first time; None where it never was."""
    quarantined: Mapping[str, int]


def write_report(folder: Path, result: Result) -> None:
    """Write both forms of the report into ``folder``."""
    text = json.dumps(report_keys(result), ensure_ascii=False, indent=1)
    (folder / "vocab_report.json").write_text(text + "\n", encoding="utf-8")
    report_page(result).write(folder / "vocab_report.html")


def report_keys(result: Result) -> dict[str, Any]:
    """Return the contents of ``vocab_report.json``."""
    measure = result.measure
    return {
        "num_base_tokens": result.base.num_tokens,
        "num_original_tokens": result.num_original,
        "num_new_tokens": len(result.vocabulary.pieces),
        "num_requested_tokens": result.num_requested,
        "num_rows": result.num_rows,
        "verification": result.verification.as_report(),
        "tokens_per_char": {domain: m.ratios() for domain, m in measure.domains.items()} if measure else {},
        "tokens_per_char_overall": measure.overall.ratios() if measure else {},
        "measured_on": result.corpus.measured_on or "nothing: no corpus was given",
        "size_curve": measure.size_curve if measure else [],
        "advice": result.advice.as_report() if result.advice else None,
        "num_documents": result.corpus.num_documents,
        "quarantined": dict(result.quarantined),
        "new_pieces": result.vocabulary.pieces,
        "gains": result.vocabulary.gains,
        "left_out": {
            reason: {"num_pieces": len(left), "examples": left[:_NUM_LISTED]}
            for reason, left in result.vocabulary.left_out.items()
        },
    }


def report_page(result: Result) -> Page:
    """Return the page that a person reads."""
    page = Page("Vocabulary extension", f"{result.base.path.name}: {len(result.vocabulary.pieces):,} new tokens")
    _summary(page, result)
    if result.measure is not None:
        _measured(page, result.measure, result.corpus.measured_on)
    if result.advice is not None:
        advice_section(page, result.advice, len(result.vocabulary.pieces))
    page.section("Sample sentences")
    for sample in SAMPLES:
        page.pieces("base", _pieces(result.old, sample))
        page.pieces("extended", _pieces(result.new, sample))
    _new_pieces(page, result.vocabulary, new_spellings(result))
    _verification(page, result.verification)
    return page


def _summary(page: Page, result: Result) -> None:
    found = len(result.vocabulary.pieces)
    size = f"{result.base.num_tokens + found:,} tokens"
    rows = f", {result.num_rows:,} rows" if result.num_rows else ""
    cards = [Card(label="New tokens", value=f"{found:,}", note=f"{size}{rows}")]
    if result.measure is not None:
        ratios = result.measure.overall.ratios()
        cards += [
            Card(label="Tokens per character, base", value=f"{ratios['base']:.3f}"),
            Card(label="Tokens per character, extended", value=f"{ratios['extended']:.3f}", tone="good"),
            Card(label="Text is shorter by", value=f"{1 - ratios['extended'] / ratios['base']:.0%}", tone="good"),
        ]
    page.cards(cards)
    if result.num_original is not None:
        page.paragraph(
            f"The base was extended before: it had {result.num_original:,} tokens at first, and "
            f"{result.base.num_tokens:,} before this time. What is called base here is what it was before this time."
        )
    if result.num_requested is not None and found < result.num_requested:
        why = "could be used" if result.vocabulary.left_out else "would save at least two tokens on the corpus"
        page.paragraph(f"{result.num_requested:,} tokens were asked for; only {found:,} pieces {why}.")
    if result.verification.failures():
        page.paragraph(
            f"This repeats the published merge with its faults: {result.verification.failures()}. Without --compatible "
            "the pieces get ranks of their own, and none of these remain."
        )
    if result.quarantined:
        bad = ", ".join(f"{reason}: {count}" for reason, count in sorted(result.quarantined.items()))
        page.paragraph(f"Records that could not be read and were left out: {bad} (see quarantine.jsonl).")


def _measured(page: Page, measure: Measure, measured_on: str) -> None:
    page.section("Tokens per character")
    page.paragraph(f"Measured on {measured_on}, whole documents. Fewer is better.")
    page.table(
        ["domain", "characters", "base", "extended", "saved"],
        [_row(domain, m.num_chars, m.ratios()) for domain, m in measure.domains.items()],
    )
    page.section("How many tokens?")
    page.figure(_curve(measure), "Tokens per character of held-out text against the number of new tokens.")


def _row(domain: str, num_chars: int, ratios: Mapping[str, float]) -> list[str | int | float]:
    saved = f"{1 - ratios['extended'] / ratios['base']:.0%}" if ratios["base"] else "–"
    return [domain, num_chars, ratios["base"], ratios["extended"], saved]


def _curve(measure: Measure) -> Any:
    from plotly import graph_objects

    largest = sorted(measure.domains, key=lambda domain: -measure.domains[domain].num_chars)[:_NUM_CURVES]
    figure = graph_objects.Figure()
    sizes = [point["num_new_tokens"] for point in measure.size_curve]
    for domain in largest:
        values = [point["tokens_per_char"][domain] for point in measure.size_curve]
        figure.add_scatter(x=sizes, y=values, name=domain, mode="lines+markers")
    figure.update_layout(xaxis_title="new tokens", yaxis_title="tokens per character")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _pieces(tokenizer: Forms, text: str) -> list[str]:
    return [tokenizer.spelling(i) for i in tokenizer.encode([text])[0]]


def new_spellings(result: Result) -> list[str]:
    """Return the new pieces as people read them, in order of id."""
    return [result.new.spelling(i) for i in range(result.base.num_tokens, result.new.num_tokens)]


def _new_pieces(page: Page, vocabulary: Vocabulary, pieces: Sequence[str]) -> None:
    page.section("New tokens")
    if vocabulary.gains:
        page.paragraph("Tokens saved on the training text (and prior) when each piece was added.")
        best = [(piece, round(gain)) for piece, gain in zip(pieces, vocabulary.gains, strict=True)]
        multi = [row for row in best if len(row[0]) > 1][:_NUM_LISTED]
        page.table(["most useful", "tokens saved"], multi, caption="The most useful pieces of two or more characters")
    if vocabulary.left_out:
        page.table(
            ["left out of the merged model because", "pieces", "such as"],
            [[reason, len(left), "  ".join(left[:12])] for reason, left in vocabulary.left_out.items()],
        )
    longest = sorted(pieces, key=lambda piece: -len(piece))[:_NUM_LISTED]
    page.details("The longest", _wrapped(longest))
    page.details("The last ones added", _wrapped(pieces[-_NUM_LISTED:]))
    page.details("All, in order", _wrapped(pieces))


def _verification(page: Page, verification: Verification) -> None:
    page.section("Verification")
    page.table(
        ["check", "checked", "failures"],
        [
            ["new tokens that can be produced, by SentencePiece and the fast tokenizer",
             verification.num_tokens_checked, verification.dead_tokens],
            ["lines without Chinese that keep the base's ids",
             verification.num_foreign_lines, verification.changed_lines],
            ["texts on which SentencePiece and the fast tokenizer agree (byte-level tokenizers have one form)",
             verification.num_texts if verification.num_forms > 1 else 0, verification.sentencepiece_fast_mismatches],
            ["texts that come back unchanged where they did with the base",
             verification.num_texts, verification.round_trip_failures],
        ],
    )  # fmt: skip


def _wrapped(pieces: Sequence[str]) -> str:
    return "\n".join("  ".join(pieces[i : i + 10]) for i in range(0, len(pieces), 10))
