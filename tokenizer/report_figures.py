"""The figures of the vocabulary report."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hanlm import plots
from tokenizer.compare import BASE, EXTENDED, NamedTokenizer
from tokenizer.coverage import character_tables, coverage
from tokenizer.measure import Measure
from tokenizer.result import Findings

OVERALL: Final = "overall"

_OTHERS: Final = tuple(f"var(--c{i})" for i in range(2, 8))
_LONGEST_NAME: Final = 26
"""Longer names would leave a phone no room for the figure."""


def labels(tokenizers: Sequence[NamedTokenizer]) -> list[str]:
    """Return names that fit a figure, numbered where shortening makes two alike."""
    short = [_shortened(tokenizer.name) for tokenizer in tokenizers]
    is_clear = len(set(short)) == len(short)
    return short if is_clear else [f"{name} ({i + 1})" for i, name in enumerate(short)]


def domains(found: Findings, measure: Measure) -> tuple[Any, int]:
    """Return tokens per character of every domain and tokenizer, and the height it needs."""
    rows = [measure.overall.ratios(), *(m.ratios() for m in measure.domains.values())]
    series: dict[str, list[float | None]] = {}
    for label, name in zip(labels(found.tokenizers)[:2], (BASE, EXTENDED), strict=True):
        series[label] = [ratios[name] for ratios in rows]
    for label, measured in zip(labels(found.tokenizers)[2:], found.compared, strict=True):
        series[label] = [measured.overall, *(measured.tokens_per_char[domain] for domain in measure.domains)]
    figure = plots.dots(
        [OVERALL, *measure.domains], series, unit="tokens per character", colors=_colors(found.tokenizers)
    )
    return figure, plots.bars_height(len(rows), 1) + _legend_height(len(series))


def size_curve(found: Findings, measure: Measure, counted: Sequence[str]) -> tuple[Any, int]:
    """Return tokens per character against the number of new tokens, and the height it needs.

    One thin line a domain (named when it is pointed at; the longest and the shortest in the end at their ends too), one
    thick line for all text of the ``counted`` domains, and one dotted line at what each tokenizer that is compared with
    needs.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    sizes = [point["num_new_tokens"] for point in measure.size_curve]
    for domain in measure.domains if len(measure.domains) > 1 else ():  # a single one is the overall line
        values = [point["tokens_per_char"][domain] for point in measure.size_curve]
        _line(figure, domain, sizes, values, {"color": "var(--c0)", "width": 1.2}, legend="one domain each")
    _name_outer_lines(figure, measure)
    overall = [_overall(point["tokens_per_char"], measure, counted) for point in measure.size_curve]
    _line(figure, OVERALL, sizes, overall, {"color": "var(--c1)", "width": 3.2})
    names, colors = labels(found.tokenizers), _colors(found.tokenizers)
    for name, measured in zip(names[2:], found.compared, strict=True):
        if measured.overall is not None:
            line = {"color": colors[name], "width": 2, "dash": "dot"}
            _line(figure, name, [0, sizes[-1]], [measured.overall] * 2, line)
    figure.update_layout(xaxis_title="new tokens", yaxis_title="tokens per character")
    # More ticks would run into each other on a phone, and one at the very end would have its number cut off.
    figure.update_xaxes(tickformat=",d", nticks=5, range=[0, 1.05 * sizes[-1]])
    figure.update_yaxes(rangemode="tozero")
    return figure, 340 + _legend_height(len(names))


def covered(found: Findings) -> tuple[Any, int]:
    """Return the share of each character table that is single tokens, and the height it needs."""
    tables = character_tables()
    names = labels(found.tokenizers)
    series: dict[str, list[float | None]] = {}
    for name, chars in zip(names, found.single_chars, strict=True):
        counts = coverage(chars)
        series[name] = [100 * counts[table.key] / len(table.chars) for table in tables]
    unit = "% of the table's characters"
    figure = plots.bars(
        [table.title for table in tables], series, unit=unit, digits=1, colors=_colors(found.tokenizers)
    )
    figure.update_xaxes(range=[0, 112], tickvals=[0, 25, 50, 75, 100])  # room for the number beside a full bar
    return figure, plots.bars_height(len(tables), len(series)) + _legend_height(len(series))


def _line(
    figure: Any, name: str, x: Sequence[float], y: Sequence[float], line: Mapping[str, Any], *, legend: str = ""
) -> None:
    """Add a curve; those with one ``legend`` share its entry, which the first of them shows."""
    is_first = all(trace.legendgroup != legend for trace in figure.data)
    figure.add_scatter(
        name=legend or name,
        legendgroup=legend or name,
        showlegend=not legend or is_first,
        x=list(x),
        y=list(y),
        customdata=[name] * len(x),
        mode="lines",
        line=line,
        hovertemplate="%{customdata}, %{x:,} new tokens: %{y:.3f} tokens per character<extra></extra>",
    )


def _name_outer_lines(figure: Any, measure: Measure) -> None:
    """Write the names of the domains that end highest and lowest above and below their lines."""
    last = measure.size_curve[-1]
    ends = sorted((last["tokens_per_char"][domain], domain) for domain in measure.domains)
    for (height, domain), shift in zip((ends[-1], ends[0]) if len(ends) > 1 else (), (12, -9), strict=False):
        figure.add_annotation(
            text=_shortened(domain),
            x=last["num_new_tokens"],
            y=height,
            xanchor="right",
            yshift=shift,
            showarrow=False,
            font={"color": "var(--muted)", "size": 12},
        )


def _overall(ratios: Mapping[str, float], measure: Measure, counted: Sequence[str]) -> float:
    num_chars = {domain: measure.domains[domain].num_chars for domain in counted}
    return sum(ratios[domain] * count for domain, count in num_chars.items()) / sum(num_chars.values())


def _colors(tokenizers: Sequence[NamedTokenizer]) -> dict[str, str]:
    names = labels(tokenizers)
    others = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(names[2:])}
    return {names[0]: "var(--c0)", names[1]: "var(--c1)"} | others


def _legend_height(num_entries: int) -> int:
    return 20 * num_entries  # on a phone every entry has a line of its own


def _shortened(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[:half]}…{name[-half + 1 :]}"
