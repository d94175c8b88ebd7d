"""The page of a run: what was done to the model and what it shows, told to someone who was not there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.bench_page import add_accuracy
from eval.colors import NEUTRAL, domain_colors, model_colors
from eval.ppl_page import LANGUAGE_NAMES, RANDOM_BITS, TABLE_HEADERS, add_bars, table_rows
from eval.run_facts import Roles, RunFacts
from eval.segmentation import segment
from eval.summary import Verdict
from hanlm import plots
from hanlm.page import Card, Page

_MAX_CONVERSATIONS = 4
_FLUENT_PARAMETERS = 200_000_000  # below it a model's answers are fragments, however well it was tuned


def write_page(
    path: Path,
    facts: RunFacts,
    roles: Roles,
    summary: Mapping[str, Any],
    verdicts: Sequence[Verdict],
    sentence: str,
) -> None:
    """Write the report of a run as one HTML file."""
    colors = _colors(facts, roles)
    page = Page(
        "An English model learns Chinese",
        "A new vocabulary, continued pretraining, instruction tuning: what each step changed, measured on text and "
        "questions that no step has seen.",
    )
    _add_headline(page, summary, verdicts)
    page.section("What was done")
    _add_story(page, facts, roles)
    page.section("The vocabulary")
    _add_vocabulary(page, facts, roles, sentence, colors)
    page.section("Bits per byte")
    _add_bits(page, facts, roles)
    page.section("Training")
    _add_curves(page, facts, colors)
    page.section("A task")
    _add_task(page, facts, roles, colors)
    page.section("Questions and answers")
    _add_conversations(page, facts)
    page.section("Time and memory")
    _add_costs(page, facts, summary)
    page.write(path)


def _colors(facts: RunFacts, roles: Roles) -> dict[str, str]:
    """Return every model's colour by name, the same as on the pages of ``hanlm ppl`` and ``hanlm bench``."""
    measured = [*(facts.ppl or {}).get("models", []), *(facts.bench or {}).get("models", [])]
    named = [{"name": name, "path": name} for name in (roles.base, roles.extended, roles.pretrained, roles.control)]
    return model_colors([*measured, *named])


def _add_headline(page: Page, summary: Mapping[str, Any], verdicts: Sequence[Verdict]) -> None:
    tones = {True: "good", False: "bad", None: "plain"}
    tokens, zh, en = summary["tokens_per_char"], summary["zh_bits_per_byte"], summary["en_bits_per_byte"]
    halved, above_control, _, english, task = (tones[verdict.passed] for verdict in verdicts)
    accuracy = summary["task_accuracy"]
    cards = [
        (
            "Tokens per Chinese character",
            _change(tokens["base"], tokens["extended"], ".2f"),
            "before and after",
            halved,
        ),
        ("Chinese, bits per byte", _change(zh["extended"], zh["pretrained"], ".2f"), _control_note(zh), above_control),
        ("English, bits per byte", _change(en["base"], en["pretrained"], ".2f"), _relative(en), english),
        ("Task accuracy", _change(accuracy["before"], accuracy["after"], ".0%"), "before and after tuning", task),
    ]
    page.cards(Card(label=a, value=b, note=c, tone=d) for a, b, c, d in cards)  # pyright: ignore[reportArgumentType]
    marks = {True: "yes", False: "no", None: "not measured"}
    page.table(
        ["Claim", "Holds", "Figures"],
        [[verdict.claim, marks[verdict.passed], verdict.figures] for verdict in verdicts],
        caption="What the run set out to show",
    )


def _add_story(page: Page, facts: RunFacts, roles: Roles) -> None:
    page.paragraph(
        f"The base model knows English only: it reads Chinese byte by byte. Its vocabulary was extended with Chinese "
        f"tokens ({roles.extended}), and it was trained on Chinese text with some English in between, so that it would "
        f"not forget ({roles.pretrained}). Then it was tuned on instructions and their answers."
    )
    seconds = facts.train_seconds
    trained = [f"{seconds[name]:.0f} s for {name}" for name in (roles.pretrained, roles.control) if name in seconds]
    page.paragraph(
        f"Would training on Chinese alone have done it? The unextended base was trained too ({roles.control}). "
        + (f"Training took {', '.join(trained)}. " if trained else "")
        + "Only a model that beats this control has gained from its new tokens."
    )
    for sentence in facts.missing:
        page.paragraph(sentence)


def _add_vocabulary(page: Page, facts: RunFacts, roles: Roles, sentence: str, colors: Mapping[str, str]) -> None:
    vocab = facts.vocab
    if vocab is None:
        page.paragraph("This run has no report of its vocabulary.")
    else:
        page.paragraph(
            f"{vocab['num_new_tokens']:,} tokens were added to the base's {vocab['num_base_tokens']:,}. Fewer tokens "
            "for the same text mean more text in a context, and fewer steps to write it."
        )
        domains = vocab["tokens_per_char"]
        page.figure(
            plots.bars(
                list(domains),
                {name: [domain[name] for domain in domains.values()] for name in ("base", "extended")},
                unit="tokens per character",
                colors={"base": colors[roles.base], "extended": colors[roles.extended]},
                digits=2,
            ),
            "Tokens per character on text that the vocabulary was not learned from.",
            height=plots.bars_height(len(domains), 2),
        )
        _add_size_curve(page, vocab["size_curve"])
    for name in (roles.base, roles.extended):
        model = facts.model(name)
        pieces = None if model is None else segment(Path(model["path"]), sentence)
        if pieces is not None:
            page.pieces(f"The same sentence for {name}: {len(pieces)} tokens", pieces)


def _add_size_curve(page: Page, curve: Sequence[Mapping[str, Any]]) -> None:
    if len(curve) < 2:
        return
    sizes = [point["num_new_tokens"] for point in curve]
    names = list(curve[-1]["tokens_per_char"])
    page.figure(
        plots.lines(
            {name: (sizes, [point["tokens_per_char"][name] for point in curve]) for name in names},
            x_title="new tokens",
            y_title="tokens per character",
            colors=domain_colors(names),
        ),
        "What more tokens would buy: each point is a vocabulary of that size from the same run.",
    )


def _add_bits(page: Page, facts: RunFacts, roles: Roles) -> None:
    if facts.ppl is None:
        page.paragraph("This run has not measured bits per byte.")
        return
    models = facts.ppl["models"]
    page.paragraph(
        "How many bits a model needs for each byte of text that it has not seen; lower is better. It can be compared "
        "between vocabularies, which perplexity per token cannot. All models were scored on the same bytes."
    )
    add_bars(page, models)
    rows: list[list[str]] = []
    for a, b in ((roles.base, roles.pretrained), (roles.control, roles.pretrained), (roles.base, roles.extended)):
        for lang, name in LANGUAGE_NAMES.items():
            found = facts.difference(a, b, lang)
            if found is not None:
                interval = found["ci95"]
                shown = "–" if interval is None else f"[{interval[0]:+.3f}, {interval[1]:+.3f}]"
                rows.append([f"{a} → {b}", name, f"{found['bits_per_byte']:+.3f}", shown])
    if rows:
        page.table(["Change", "Language", "Bits per byte", "95% interval"], rows, caption="Paired differences")
    page.table(TABLE_HEADERS, [row for model in models for row in table_rows(model)], caption="Every model and domain")


def _add_curves(page: Page, facts: RunFacts, colors: Mapping[str, str]) -> None:
    if not any(facts.curves.values()):
        page.paragraph("This run has no training curves.")
        return
    page.paragraph("Bits per byte on held-out text while training, against seconds of training.")
    for lang, language in LANGUAGE_NAMES.items():
        key = f"valid/{lang}"
        series = {
            name: ([point["elapsed_seconds"] for point in chosen], [point[key] for point in chosen])
            for name, points in facts.curves.items()
            if (chosen := [point for point in points if key in point])
        }
        if series:
            page.figure(
                plots.lines(
                    series,
                    x_title="seconds",
                    y_title="bits per byte",
                    colors=[colors[name] for name in series],
                    limit=RANDOM_BITS,
                ),
                f"{language} while training.",
                height=330,
            )


def _add_task(page: Page, facts: RunFacts, roles: Roles, colors: Mapping[str, str]) -> None:
    if facts.bench is None:
        page.paragraph("This run has not measured a task.")
        return
    page.paragraph(
        f"{facts.bench['num_rows']:,} questions about texts that no step has seen, put through several templates. The "
        f"model's answer is the choice that it finds likelier; {roles.before} and {roles.after} instruction tuning."
    )
    add_accuracy(page, facts.bench, colors)


def _add_conversations(page: Page, facts: RunFacts) -> None:
    if not facts.conversations:
        page.paragraph("This run has asked its model nothing.")
        return
    for messages in facts.conversations[:_MAX_CONVERSATIONS]:
        page.conversation(messages)
    if facts.num_parameters is not None and facts.num_parameters < _FLUENT_PARAMETERS:
        page.paragraph(
            f"The model has {facts.num_parameters / 1e6:,.1f} million parameters. One this small answers in fragments: "
            "it has learnt what an answer looks like, and hardly what to say. Judge it by the figures above."
        )


def _add_costs(page: Page, facts: RunFacts, summary: Mapping[str, Any]) -> None:
    names = list(facts.stages)
    if not names:
        page.paragraph("No stage of this run is finished.")
        return
    seconds = [facts.stages[name]["seconds"] for name in names]
    page.paragraph(f"{sum(seconds):,.0f} seconds in all.")
    page.figure(
        plots.bars(names, {"seconds": seconds}, unit="seconds", digits=0, colors={"seconds": NEUTRAL}),
        "Seconds of each stage, one after the other.",
        height=plots.bars_height(len(names), 1),
    )
    page.table(
        ["Stage", "Command", "Seconds", "Peak memory, GiB", "Artifact"],
        [
            [
                name,
                f"hanlm {stage['command']}",
                f"{stage['seconds']:.1f}",
                f"{stage['peak_rss_bytes'] / 2**30:.2f}",
                summary["artifacts"][name],
            ]
            for name, stage in facts.stages.items()
        ],
        caption="Stages",
    )


def _change(before: float | None, after: float | None, form: str) -> str:
    return f"{_form(before, form)} → {_form(after, form)}"


def _form(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _control_note(zh: Mapping[str, float | None]) -> str:
    return f"by training; control {_form(zh['control'], '.2f')}, base {_form(zh['base'], '.2f')}"


def _relative(en: Mapping[str, float | None]) -> str:
    before, after = en["base"], en["pretrained"]
    return "not measured" if before is None or after is None else f"{after / before - 1:+.1%}"
