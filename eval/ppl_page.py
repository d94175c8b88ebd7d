"""The page of a perplexity report, and its table on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.colors import model_colors
from eval.document_scores import DocumentScores
from eval.output import bounds, print_table, with_interval
from eval.ppl_figures import find_scopes
from eval.sampling import num_bytes
from hanlm import plots
from hanlm.page import Card, Cell, Page
from hanlm.records import Document

LANGUAGE_NAMES = {"zh": "Chinese", "en": "English"}
RANDOM_BITS = 8.0
"""Bits per byte that random bytes cost: a model above it knows less than nothing, and how much above says little."""

_MAX_FOREST_ROWS = 40


def print_summary(report: Mapping[str, Any]) -> None:
    """Print bits per byte: a row a domain, a column a model."""
    models = report["models"]
    rows = [[name, *(_cell(model["domains"][name]) for model in models)] for name in models[0]["domains"]]
    rows += [
        [f"all {LANGUAGE_NAMES.get(name, name)}", *(_cell(model["languages"][name]) for model in models)]
        for name in models[0]["languages"]
    ]
    rows.append(["overall", *(_cell(model["overall"]) for model in models)])
    headers = ["domain", *(model["name"] for model in models)]
    print_table("Bits per byte (lower is better) [95% interval]", headers, rows)


def write_page(
    path: Path, report: Mapping[str, Any], documents: Sequence[Document], scores: Sequence[DocumentScores]
) -> None:
    """Write the report as one HTML file."""
    models, data = report["models"], report["data"]
    page = Page(
        "Bits per byte",
        f"{_listed([model['name'] for model in models])} on {len(documents):,} held-out documents, "
        f"{models[0]['overall']['num_bytes']:,} bytes, the same for every model.",
    )
    page.cards(_cards(report))
    page.section("By domain")
    page.paragraph(
        "How many bits a model needs for each byte of text that it has not seen. Lower is better. Bits per byte can be "
        "compared between models with different vocabularies; perplexity per token cannot. Text of random bytes would "
        f"cost {RANDOM_BITS:g}: a model above that is worse than guessing."
    )
    add_bars(page, models)
    page.table(TABLE_HEADERS, [row for model in models for row in table_rows(model)], caption="Every model and domain")
    if len(models) > 1:
        add_differences(page, report)
    page.section("Documents")
    _add_documents(page, models, documents, scores)
    page.section("How this was measured")
    _add_method(page, report, data)
    page.write(path)


def add_bars(page: Page, models: Sequence[Mapping[str, Any]]) -> None:
    """Add the bars of bits per byte by domain, with the languages and the whole where there are several."""
    first = models[0]
    groups = [("domains", name) for name in first["domains"]]
    # A language that is one domain has been drawn already.
    groups += [("languages", name) for name, one in first["languages"].items() if not _is_one_domain(first, one)]
    labels = [name if kind == "domains" else f"all {LANGUAGE_NAMES.get(name, name)}" for kind, name in groups]
    if len(first["domains"]) > 1:
        labels.append("overall")
    figures = {m["name"]: [m[kind][name] for kind, name in groups] + [m["overall"]] for m in models}
    shown = {name: values[: len(labels)] for name, values in figures.items()}
    figure = plots.bars(
        labels,
        {name: [one["bits_per_byte"] for one in values] for name, values in shown.items()},
        {name: [one["ci95"] for one in values] for name, values in shown.items()},
        unit="bits per byte",
        colors=model_colors(models),
        limit=RANDOM_BITS,
    )
    caption = "Bits per byte with 95% intervals (bootstrap over documents)."
    if any(one["bits_per_byte"] > RANDOM_BITS for values in shown.values() for one in values):
        plots.mark(figure, RANDOM_BITS, "random bytes")
        caption += (
            f" The scale ends a little above {RANDOM_BITS:g}, the cost of random bytes; an arrow: the bar goes on."
        )
    page.figure(figure, caption, height=plots.bars_height(len(labels), len(models)))


TABLE_HEADERS = (
    "Model",
    "Domain",
    "Bits per byte",
    "95% interval",
    "Bits per character",
    "Tokens per character",
    "Tokens",
    "Bytes",
    "Documents",
)


def table_rows(model: Mapping[str, Any]) -> list[list[Cell]]:
    """Return a model's rows of the table under ``TABLE_HEADERS``."""
    named = [*model["domains"].items(), ("overall", model["overall"])]
    return [
        [
            model["name"],
            name,
            one["bits_per_byte"],
            bounds(one["ci95"]),
            one["bits_per_char"],
            one["tokens_per_char"],
            one["num_tokens"],
            one["num_bytes"],
            one["num_documents"],
        ]
        for name, one in named
    ]


def _is_one_domain(model: Mapping[str, Any], language: Mapping[str, Any]) -> bool:
    return any(language["num_bytes"] == domain["num_bytes"] for domain in model["domains"].values())


def _cell(figures: Mapping[str, Any]) -> str:
    return with_interval(figures["bits_per_byte"], figures["ci95"])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _cards(report: Mapping[str, Any]) -> list[Card]:
    models = report["models"]
    scopes = [(LANGUAGE_NAMES.get(lang, lang), "languages", lang) for lang in models[0]["languages"]]
    if not scopes:
        scopes = [("All text", "", "overall")]
    cards: list[Card] = []
    for label, kind, key in scopes[:4]:
        figures = {m["name"]: (m[kind] if kind else m)[key]["bits_per_byte"] for m in models}
        best = min(figures, key=lambda name: figures[name])
        others = ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if name != best)
        cards.append(
            Card(label=f"{label}, bits per byte", value=f"{figures[best]:.3f}", note=f"{best}; {others}".strip("; "))
        )
    return cards


def add_differences(page: Page, report: Mapping[str, Any]) -> None:
    """Add the section of paired differences, those against the first model apart from the others."""
    models = report["models"]
    first = models[0]["name"]
    rows = _difference_rows(report)
    others = [row for row in rows if first not in (row[0]["a"], row[0]["b"])]
    against_first = [row for row in rows if first in (row[0]["a"], row[0]["b"])]
    page.section("Differences")
    page.paragraph(
        "What changes from the first model to the second, on the same documents: below zero, the second needs fewer "
        "bits. An interval that leaves out zero is a difference that another draw of documents would show again."
    )
    for drawn, caption in (
        (others, "Paired differences with 95% intervals."),
        (against_first, f"Paired differences with 95% intervals against {first}, on a scale of their own."),
    ):
        if drawn:
            _add_forest(page, drawn[:_MAX_FOREST_ROWS], model_colors(models), caption)
            if len(drawn) > _MAX_FOREST_ROWS:
                page.paragraph("The rest is in the table.")
    page.table(
        ["Change", "Text", "Bits per byte", "95% interval"],
        [[f"{d['a']} → {d['b']}", text, f"{d['bits_per_byte']:+.3f}", bounds(d["ci95"], sign="+")] for d, text in rows],
        caption="Paired differences",
    )


def _difference_rows(report: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """Return each difference with the name of its texts: whole languages first, then domains, the sum of all last."""
    models = report["models"]
    languages = [
        (d, f"all {LANGUAGE_NAMES.get(d['lang'], d['lang'])}")
        for d in report["language_differences"]
        if not _is_one_domain(models[0], models[0]["languages"][d["lang"]])
    ]
    domains = [(d, d["domain"]) for d in report["differences"] if d["domain"] != "overall"]
    overall = [(d, "overall") for d in report["differences"] if d["domain"] == "overall"]
    return languages + domains + (overall if len(models[0]["domains"]) > 1 else [])


def _add_forest(
    page: Page, rows: Sequence[tuple[Mapping[str, Any], str]], colors: Mapping[str, str], caption: str
) -> None:
    page.figure(
        plots.forest(
            [f"{text}: {d['a']} → {d['b']}" for d, text in rows],
            [d["bits_per_byte"] for d, _ in rows],
            [d["ci95"] for d, _ in rows],
            unit="bits per byte, second minus first",
            colors=[colors[d["b"]] for d, _ in rows],
        ),
        caption + " A point has the colour of the second model.",
        height=plots.bars_height(len(rows), 1),
    )


def _add_documents(
    page: Page, models: Sequence[Mapping[str, Any]], documents: Sequence[Document], scores: Sequence[DocumentScores]
) -> None:
    sizes = np.array([num_bytes(document.text) for document in documents])
    scopes = [scope for scope in find_scopes(documents) if scope.kind == "domain"]
    spread = {
        model["name"]: [(score.bits[s.indices] / sizes[s.indices]).tolist() for s in scopes]
        for model, score in zip(models, scores, strict=True)
    }
    page.figure(
        plots.boxes(
            [scope.name for scope in scopes],
            spread,
            unit="bits per byte of a document, logarithmic",
            colors=model_colors(models),
        ),
        "How documents differ: median, middle half, and the range from the 5th to the 95th percentile.",
        height=plots.bars_height(len(scopes), len(models)),
    )


def _add_method(page: Page, report: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    method = report["method"]
    page.paragraph(
        f"Windows of {method['length']:,} tokens; each after a document's first scores {method['stride']:,} new ones; "
        f"{method['start']}. Computed in {method['precision']} on {method['device']}, summed in float64. Intervals: "
        f"{method['num_resamples']:,} bootstrap samples of whole documents, percentiles, seed {method['seed']}."
    )
    for model in report["models"]:
        if model["num_unknown_tokens"] or model["num_changed_documents"]:
            page.paragraph(
                f"{model['name']} cannot spell all of this text: {model['num_unknown_tokens']:,} unknown tokens, "
                f"{model['num_changed_documents']:,} documents that its tokenizer does not give back as they were. Its "
                "bits per byte leave out what was lost, and so flatter it."
            )
    page.table(
        ["Domain", "Documents read", "Documents scored"],
        [[name, counts["read"], counts["scored"]] for name, counts in data["domains"].items()],
        caption=f"Texts (hash {data['documents_hash'][:16]})",
    )
    for group in report["token_perplexity"]:
        page.table(
            ["Model", "Perplexity per token"],
            list(group["perplexity"].items()),
            caption=f"Within one vocabulary (tokenizer {group['tokenizer_hash'][:12]})",
        )
    page.table(
        ["Model", "Folder", "Tokenizer"],
        [
            [m["name"], m["path"] + (f" on {m['base']}" if m["base"] else ""), m["tokenizer_hash"][:12]]
            for m in report["models"]
        ],
        caption="Models",
    )
    if data["quarantined"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in data["quarantined"].items())
        page.paragraph(f"Unreadable records that were set aside: {reasons}.")
