"""The section of the report that says how many tokens to add, and shows why."""

from collections.abc import Sequence
from typing import Any

from hanlm.page import Card, Page
from tokenizer.advice import MIN_OCCURRENCES, RULE, TEXT_CHARS, Advice, Size
from tokenizer.cost import TRAINING_BYTES


def advice_section(page: Page, advice: Advice, num_new_tokens: int) -> None:
    """Add the recommendation, its reasons, and both sides of the bargain against the size.

    Args:
        page: The report.
        advice: What it tells.
        num_new_tokens: What was taken: the recommended number, or the one that was asked for.
    """
    best = advice.recommended
    training, inference = advice.relative(best)
    # Where costs still fall at the end of what was looked at, a larger size may well be right.
    label = "Recommended" if advice.bound_by != "largest size" else f"Best up to {advice.sizes[-1].num_new_tokens:,}"
    page.section("How many tokens to add")
    page.cards(
        [
            Card(label=label, value=f"{best.num_new_tokens:,}", note=f"for the model {advice.shape.name}", tone="good"),
            Card(label="Training a character costs", value=f"{training:.0%}", note="of what it costs with the base"),
            Card(label="Generating one costs", value=f"{inference:.0%}", note="of what it costs with the base"),
        ]
    )
    for sentence in advice.explanation():
        page.paragraph(sentence)
    marks = {"recommended": best.num_new_tokens}
    if num_new_tokens != best.num_new_tokens:
        marks["taken"] = num_new_tokens
    listed = advice.listed()
    page.figure(_costs(advice, listed, marks), "What a character costs at each size; with the base it costs 1.")
    page.table(
        [
            "new tokens",
            "tokens per character",
            "training",
            "generating",
            f"rarer than {MIN_OCCURRENCES}",
            "training memory, MiB",
        ],
        [_row(advice, size) for size in _some(listed, (best, advice.by_cost, listed[-1]))],
        caption="Costs beside the base's; the share of new tokens that occur too seldom; memory of the new rows",
    )
    for paragraph in _method(advice):
        page.paragraph(paragraph)


def _costs(advice: Advice, listed: Sequence[Size], marks: dict[str, int]) -> Any:
    from plotly import graph_objects

    figure = graph_objects.Figure()
    sizes = [size.num_new_tokens for size in listed]
    # The first is drawn wide, so that it is seen under the second: both follow the weights that a token passes.
    lines = {"training": {"width": 7}, "generating one text at a time": {"width": 2}}
    for (name, line), values in zip(lines.items(), zip(*map(advice.relative, listed), strict=True), strict=True):
        figure.add_scatter(x=sizes, y=values, name=name, mode="lines", line=line)
    for (name, size), place in zip(marks.items(), ("top left", "bottom left"), strict=False):
        dotted = {"dash": "dot", "color": "var(--muted)"}
        figure.add_vline(x=size, line=dotted, annotation_text=name, annotation_position=place)
    figure.update_layout(xaxis_title="new tokens", yaxis_title="cost of a character beside the base's")
    figure.update_xaxes(tickformat=",d", nticks=5)  # more would run into each other on a phone
    figure.update_yaxes(rangemode="tozero")
    return figure


def _some(listed: Sequence[Size], named: Sequence[Size]) -> list[Size]:
    """Return about ten of the sizes, the first and those that are spoken of among them."""
    step = -(-len(listed) // 10)
    return [size for i, size in enumerate(listed) if i % step == 0 or any(size is one for one in named)]


def _row(advice: Advice, size: Size) -> list[str | int | float]:
    training, inference = advice.relative(size)
    memory = round(size.training_memory_bytes / 2**20)
    rare = f"{size.rare_share:.0%}"
    return [size.num_new_tokens, size.tokens_per_char_overall, f"{training:.1%}", f"{inference:.1%}", rare, memory]


def _method(advice: Advice) -> list[str]:
    shape = advice.shape
    return [
        f"The rule: {RULE[0].lower()}{RULE[1:]}",
        f"The model: {shape.name}, {shape.num_layers} layers of width {shape.hidden_size:,} with "
        f"{shape.num_body_params:,} weights, and {'one matrix' if shape.tied else 'two matrices'} of "
        f"{shape.num_rows:,} rows, {shape.item_bytes} bytes a weight.",
        "Training costs three forward passes, each of two operations a weight of the layers and of the output "
        f"matrix, and attention within texts of {TEXT_CHARS:,} characters; reading prompts, and generating many texts "
        "at once, costs a third of that, so the same share of the base's. Generating one text at a time costs what has "
        "to be read from memory for each token: the layers, the output matrix, and the cache of that text. Memory is "
        f"that of the new rows, {TRAINING_BYTES} bytes a weight in training (weight, gradient, Adam). Occurrences are "
        "counted in the corpus at hand: a model that is trained on more text than this can learn more tokens than it "
        "says here.",
    ]
