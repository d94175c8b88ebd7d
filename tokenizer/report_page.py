"""``vocab_report.html``: the page that a person reads, section by section."""

from collections.abc import Iterable, Sequence
from typing import Final

from hanlm.page import Card, Page
from hanlm.page_tokens import Spelled, Token
from tokenizer import report_figures as figures
from tokenizer.advice_page import advice_section
from tokenizer.compare import NamedTokenizer
from tokenizer.coverage import character_tables, coverage
from tokenizer.measure import Measure
from tokenizer.pruned_base import PrunedBase
from tokenizer.report_tokens import add_new_tokens
from tokenizer.result import Findings, Result
from tokenizer.spelling import is_text, shown, together
from tokenizer.verify import Verification

SAMPLES: Final = (
    "早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去。",
    "酒店的房间很干净，服务员也很热情，下次来北京还会住这里。",
    "她翻開一本舊書，讀到一首寫雨的詩，忽然想起故鄉的小巷。",
    "他说：“先读两遍，再写 summary.txt。”——然后关上了门。",
)
"""Our own sentences, shown in the pieces of every tokenizer."""

_ABOUT_LINES: Final = (
    f" Thick: {figures.OVERALL}, the Chinese domains together. Grey: one domain each, whose name shows when you point "
    "at its line or tap it."
)


def report_page(result: Result, found: Findings) -> Page:
    """Return the page."""
    changes = [f"{len(result.vocabulary.pieces):,} new tokens"]
    if result.pruned is not None:
        changes.append(f"{len(result.pruned.dropped):,} dropped")
    title = "Vocabulary extension" if result.vocabulary.pieces else "Vocabulary pruning"
    page = Page(title, f"{result.base.path.name}: {', '.join(changes)}")
    _summary(page, result)
    if found.warning:
        page.paragraph(found.warning)
    if result.measure is not None:
        _measured(page, result, result.measure, found)
        if result.advice is not None:
            advice_section(page, result.advice, len(result.vocabulary.pieces))
        _size_curve(page, result, result.measure, found)
    if result.pruned is not None:
        _pruned(page, result.pruned)
    _coverage(page, found)
    _samples(page, found.tokenizers)
    if result.vocabulary.pieces:
        add_new_tokens(page, result, found.usage)
    _verification(page, result.verification)
    return page


def _summary(page: Page, result: Result) -> None:
    found = len(result.vocabulary.pieces)
    size = f"{result.base.num_tokens + found:,} tokens in all"
    rows = f", {result.num_rows:,} rows" if result.num_rows else ""
    cards = [Card(label="New tokens", value=f"{found:,}", note=f"{size}{rows}")] if found else []
    if result.pruned is not None:
        note = f"of {result.pruned.old.num_tokens:,}" + ("" if found else f": {size}{rows} stay")
        cards.append(Card(label="Dropped tokens", value=f"{len(result.pruned.dropped):,}", note=note))
    if result.measure is not None and found:
        ratios = result.measure.overall.ratios()
        before, after = result.names
        cards += [
            Card(label=f"Tokens per character, {before}", value=f"{ratios['base']:.3f}"),
            Card(label=f"Tokens per character, {after}", value=f"{ratios['extended']:.3f}", tone="good"),
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


def _measured(page: Page, result: Result, measure: Measure, found: Findings) -> None:
    page.section("Tokens per character")
    page.paragraph(
        f"Measured on {result.corpus.measured_on}, each document as a whole. Fewer is better. Overall takes the "
        "Chinese domains together."
    )
    for sentence in _comparisons(measure, found):
        page.paragraph(sentence)
    figure, height = figures.domains(found, measure)
    page.figure(figure, "Tokens per character by domain: the further left, the shorter the text.", height=height)
    rows = [(figures.OVERALL, measure.overall), *measure.domains.items()]
    others = [
        [m.overall, *(m.tokens_per_char[domain] for domain in measure.domains)] for m in found.compared
    ]  # columns, in the order of the rows
    page.table(
        ["domain", "characters", *result.names, "saved", *(t.name for t in found.tokenizers[2:])],
        [
            [domain, m.num_chars, *m.ratios().values(), _saved(m.ratios()), *(column[i] for column in others)]
            for i, (domain, m) in enumerate(rows)
        ],
        caption="The same in numbers",
    )


def _saved(ratios: dict[str, float]) -> str:
    return f"{1 - ratios['extended'] / ratios['base']:.0%}" if ratios["base"] else "–"


def _comparisons(measure: Measure, found: Findings) -> Iterable[str]:
    """Yield a sentence for each tokenizer compared with."""
    ours = measure.overall.ratios()["extended"]
    for tokenizer, measured in zip(found.tokenizers[2:], found.compared, strict=True):
        if measured.overall:
            change = ours / measured.overall - 1
            lost = measured.unknown_share
            yield (
                f"Against {tokenizer.name} ({tokenizer.num_tokens:,} tokens) the {found.extended.name} tokenizer "
                f"({found.extended.num_tokens:,}) needs {abs(change):.1%} {'fewer' if change < 0 else 'more'} tokens."
                + (f" But {lost:.2%} of the tokens of {tokenizer.name} are unknown: it loses text." if lost else "")
            )


def _pruned(page: Page, pruned: PrunedBase) -> None:
    before, after = pruned.probe_tokens
    page.section("Dropped tokens")
    page.paragraph(
        f"Of {pruned.old.num_tokens:,} tokens the corpus never uses {pruned.num_unused:,}; "
        f"{len(pruned.dropped):,} of them were dropped, and those that stay have moved up (kept_ids in "
        "vocab_report.json). Without them the corpus's text is cut as before; other text may need more tokens: "
        f"test lines of English, code and other scripts take {after:,} instead of {before:,}."
    )
    dropped = [pruned.old.spelling(token) for token in pruned.dropped]
    page.details("Dropped, by old id", "  ".join(dropped))


def _size_curve(page: Page, result: Result, measure: Measure, found: Findings) -> None:
    if len(measure.size_curve) < 2:
        return
    page.section("Every size at once")
    figure, height = figures.size_curve(found, measure, result.held_out.counted)
    page.figure(
        figure,
        "Tokens per character against the number of new tokens, on the same text; every point is a vocabulary of its "
        "own, from the same run."
        + (_ABOUT_LINES if len(measure.domains) > 1 else "")
        + (" Dotted: what the others need." if found.compared else ""),
        height=height,
    )


def _coverage(page: Page, found: Findings) -> None:
    page.section("Character coverage")
    page.paragraph(
        "How many characters of the common tables are a single token; all others are spelled in bytes, two to four "
        "tokens each. The 通用规范汉字表 is the standard of 2013: level 1 holds everyday characters, level 2 further "
        "ones in print, level 3 those of names and terms. Big5 level 1 holds the everyday traditional characters."
    )
    figure, height = figures.covered(found)
    page.figure(figure, "Share of each table's characters that are a single token.", height=height)
    tables = character_tables()
    counts = [coverage(chars) for chars in found.single_chars]
    page.table(
        ["table", "characters", *(tokenizer.name for tokenizer in found.tokenizers)],
        [[t.title, len(t.chars), *(count[t.key] for count in counts)] for t in tables],
        caption="Characters that are a single token",
    )
    extended = found.single_chars[1]
    for table in tables:
        if missing := [char for char in table.chars if char not in extended]:
            summary = f"{table.title}: {len(missing):,} of {len(table.chars):,} without a token"
            page.details(summary, "".join(missing))


def _samples(page: Page, tokenizers: Sequence[NamedTokenizer]) -> None:
    page.section("Sample sentences")
    page.paragraph(
        "Point at a token, tap it, or reach it with the tab and arrow keys to see its id. Bytes that only together "
        "spell a character stand below it; ␣ is a space."
    )
    for sample in SAMPLES:
        page.paragraph(sample)
        for tokenizer in tokenizers:
            (ids,) = tokenizer.encoder.encode([sample])
            page.tokens(f"{tokenizer.name}: {len(ids)} tokens", sample_parts(ids, tokenizer))


def sample_parts(ids: Iterable[int], tokenizer: NamedTokenizer) -> list[Token | Spelled]:
    """Return ids as a page shows them."""

    def token(i: int) -> Token:
        spelled = tokenizer.spelling[i]
        text = shown(spelled) if is_text(spelled) else shown(spelled).strip("‹›")
        return Token(text=text, hint=f"id {i:,}", is_bytes=not is_text(spelled))

    return [
        token(run[0]) if len(run) == 1 else Spelled(text=text, tokens=[token(i) for i in run])
        for text, run in together(ids, tokenizer.spelling)
    ]


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
