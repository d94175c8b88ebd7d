"""The page of a multiple-choice report, and its table on the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.colors import model_colors
from eval.output import bounds, print_table, with_interval
from hanlm import plots
from hanlm.page import Card, Page

IMBALANCE = 0.05
"""How far above chance guessing may get before a report calls its rows unbalanced."""


def print_summary(report: Mapping[str, Any]) -> None:
    """Print the accuracy of every model."""
    rows = [
        [m["name"], m["form"], with_interval(m["accuracy"], m["ci95"]), f"{m['accuracy_per_char']:.3f}"]
        for m in report["models"]
    ]
    headers = ["model", "form", "accuracy, 95% interval", "accuracy per character"]
    title = f"{report['task']}: {report['num_rows']:,} rows, chance {report['guessing']['chance']:.3f}"
    print_table(title, headers, rows)
    if note := balance_note(report):
        print_table("Caution", ["note"], [[note]])


def balance_note(report: Mapping[str, Any]) -> str:
    """Return a warning where guessing one answer beats chance clearly, else an empty text."""
    guessing = report["guessing"]
    best = max(guessing["same_position"], guessing["same_answer"])
    if best <= guessing["chance"] + IMBALANCE:
        return ""
    return (
        f"The rows are not balanced: always giving the same answer reaches {best:.3f}, chance is "
        f"{guessing['chance']:.3f}. Compare accuracies with that, or use balanced accuracy."
    )


def write_page(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report as one HTML file."""
    page = Page("Multiple choice", f"{report['task']}: {report['num_rows']:,} questions, answered by likelihood.")
    page.cards(
        Card(label=m["name"], value=f"{m['accuracy']:.1%}", note=f"95% interval {bounds(m['ci95'])}")
        for m in report["models"]
    )
    page.section("Accuracy")
    add_accuracy(page, report, model_colors(report["models"]))
    page.section("How this was measured")
    page.paragraph(
        f"A model's answer is the choice with the largest {report['score'].partition(';')[0]}. Prompt and choice are "
        "tokenized as one text, and all choices of a question are scored from the same token on. Intervals: "
        f"{report['num_resamples']:,} bootstrap samples of the questions, the same ones for every model."
    )
    page.table(
        ["Guessing", "Accuracy"],
        [
            ["at random", report["guessing"]["chance"]],
            ["always the same position", report["guessing"]["same_position"]],
            ["always the same answer of each group", report["guessing"]["same_answer"]],
        ],
        caption="What knowing nothing reaches",
    )
    page.table(
        ["Model", "Folder", "Asked", "Prompts cut to fit"],
        [[m["name"], m["path"], _asked(m), m["num_cut"]] for m in report["models"]],
        caption="Models",
    )
    page.write(path)


def group_note(model: Mapping[str, Any], chance: float) -> str:
    """Return how far the groups' accuracies lie apart and which intervals include chance; empty without groups."""
    groups: Mapping[str, Mapping[str, Any]] = model["by_group"]
    if len(groups) < 2:
        return ""
    low, high = (pick(groups, key=lambda name: groups[name]["accuracy"]) for pick in (min, max))
    unsure = [name for name, one in groups.items() if one["ci95"] and one["ci95"][0] <= chance <= one["ci95"][1]]
    which = f"the intervals of {', '.join(unsure)} include" if unsure else "no interval includes"
    if len(unsure) == len(groups):
        which = f"all {len(groups)} intervals include"
    return (
        f"{model['name']}: from {groups[low]['accuracy']:.2f} ({low}) to {groups[high]['accuracy']:.2f} ({high}); "
        f"{which} chance, {chance:.2f}."
    )


def add_accuracy(page: Page, report: Mapping[str, Any], colors: Mapping[str, str]) -> None:
    """Add the accuracies as bars and tables, how even the groups are, and the paired differences."""
    models = report["models"]
    chance = report["guessing"]["chance"]
    if note := balance_note(report):
        page.paragraph(note)
    if notes := [note for model in models if (note := group_note(model, chance))]:
        page.paragraph(f"Groups of questions are not equally easy. {' '.join(notes)}")
    groups = list(models[0]["by_group"])
    labels = ["all", *groups]
    figures = {m["name"]: [m, *(m["by_group"][name] for name in groups)] for m in models}
    figure = plots.bars(
        labels,
        {name: [one["accuracy"] for one in values] for name, values in figures.items()},
        {name: [one["ci95"] for one in values] for name, values in figures.items()},
        unit="accuracy",
        colors=colors,
    )
    plots.mark(figure, chance)
    figure.update_xaxes(range=[0, 1])
    page.figure(
        figure,
        "Accuracy with 95% intervals; the dotted line is chance.",
        height=plots.bars_height(len(labels), len(models)),
    )
    page.table(
        ["Model", "Accuracy", "95% interval", "Balanced accuracy", "Accuracy per character"],
        [[m["name"], m["accuracy"], bounds(m["ci95"]), m["balanced_accuracy"], m["accuracy_per_char"]] for m in models],
        caption="Accuracy",
    )
    if report["differences"]:
        page.table(
            ["Comparison", "Accuracy", "95% interval"],
            [
                [f"{d['a']} → {d['b']}", f"{d['accuracy']:+.3f}", bounds(d["ci95"], sign="+")]
                for d in report["differences"]
            ],
            caption="Paired differences on the same questions",
        )


def _asked(model: Mapping[str, Any]) -> str:
    return "through its chat template" if model["form"] == "chat" else "with the plain prompt"
