"""Plain bars and columns on a report's page: HTML and CSS alone, a few kilobytes where Plotly's script is 5 MB."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

type Tone = Literal["main", "lost", "pale"]
"""What a bar stands for: what is there, what went away, what is only shown to compare with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar: parts laid end to end, with its figures above it."""

    text: str
    parts: Sequence[tuple[float, Tone]]
    """Each part's length as a share of the whole track, from 0 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BarRow:
    """What stands in one row: a label, a smaller note below it, and a bar for each column."""

    label: str
    bars: Sequence[Bar]
    note: str = ""


def bars_html(headers: Sequence[str], rows: Sequence[BarRow]) -> str:
    """Return rows of bars, as many beside each other as there are headers."""
    head = "".join(f"<span>{_escape(header)}</span>" for header in headers)
    body = "".join(map(_row, rows))
    return f'<div class="bars n{len(headers)}"><div class="bar-row head"><span></span>{head}</div>{body}</div>'


def columns_html(
    labels: Sequence[str], hints: Sequence[str], series: Mapping[str, tuple[Sequence[float], Tone]], unit: str
) -> str:
    """Return columns over the bins of a histogram, those of one bin in front of each other.

    Args:
        labels: Below the left edge of each bin; empty where there is to be none.
        hints: Shown on hover and touch, one a bin.
        series: By name, the value of each bin; later ones stand in front.
        unit: Of the values, for the scale.
    """
    highest = max((value for values, _ in series.values() for value in values), default=0)
    legend = "".join(
        f'<span class="key"><i class="{tone}"></i>{_escape(name)}</span>' for name, (_, tone) in series.items()
    )
    columns = "".join(
        _column(label, hint, [(values[at] / highest if highest else 0.0, tone) for values, tone in series.values()])
        for at, (label, hint) in enumerate(zip(labels, hints, strict=True))
    )
    scale = f"<span>highest: {highest:,} {_escape(unit)}</span>"
    return f'<div class="legend">{scale}{legend}</div><div class="columns">{columns}</div>'


def _row(row: BarRow) -> str:
    note = f"<small>{_escape(row.note)}</small>" if row.note else ""
    label = f'<span class="bar-label"><b>{_escape(row.label)}</b>{note}</span>'
    return f'<div class="bar-row">{label}{"".join(map(_bar, row.bars))}</div>'


def _bar(bar: Bar) -> str:
    parts = "".join(f'<i class="{tone}" style="width:{share:.2%}"></i>' for share, tone in bar.parts if share > 0)
    return f'<span class="bar"><span>{_escape(bar.text)}</span><span class="track">{parts}</span></span>'


def _column(label: str, hint: str, parts: Sequence[tuple[float, Tone]]) -> str:
    bars = "".join(f'<i class="{tone}" style="height:{share:.2%}"></i>' for share, tone in parts)
    return f'<div class="column" data-hint="{_escape(hint)}">{bars}<span>{_escape(label)}</span></div>'


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
