"""The figures of the reports, in the page's own colours; Plotly is imported when one is drawn.

Labels of rows stand above them: beside them, long names would leave a phone no room for the data.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_BAR_PIXELS = 24
_LABEL_PIXELS = 30
_MARGIN_PIXELS = 110
_SHOWN_BEYOND = 1.1  # how far a scale that is cut goes beyond its limit
_DASHES = ("solid", "dash", "dot")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star", "x", "pentagon", "hexagram")


def bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    intervals: Mapping[str, Sequence[Sequence[float] | None]] | None = None,
    *,
    unit: str,
    colors: Mapping[str, str],
    digits: int = 3,
    limit: float | None = None,
) -> Any:
    """Return horizontal bars grouped by label, one bar a series, whiskers from the intervals where given.

    Args:
        labels: What each group of bars is about.
        series: By name, a value for each label.
        intervals: By name, ``[low, high]`` for each label.
        unit: The axis' title.
        colors: By name.
        digits: Decimals of the numbers in the bars.
        limit: The scale is cut a little above it where a bar is longer; an arrow beside its number says so.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    cut = limit is not None and any(value is not None and value > limit for one in series.values() for value in one)
    for name, values in series.items():
        bounds = (intervals or {}).get(name, [None] * len(values))
        above, below = _whiskers(values, bounds)
        figure.add_bar(
            name=name,
            y=list(range(len(labels))),
            x=list(values),
            customdata=list(labels),
            orientation="h",
            marker_color=colors[name],
            error_x={
                "type": "data",
                "array": above,
                "arrayminus": below,
                "thickness": 1.3,
                "width": 3,
                "color": "var(--ink)",
            }
            if intervals
            else None,
            text=[_number(value, digits, limit if cut else None) for value in values],
            textangle=0,
            constraintext="none",
            insidetextanchor="start",
            insidetextfont={"color": "var(--surface)"},
            outsidetextfont={"color": "var(--ink)"},
            hovertemplate="%{customdata}: %{x:." + str(digits) + "f} " + unit + "<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="group", xaxis_title=unit, xaxis_rangemode="tozero", legend_traceorder="normal")
    if cut and limit is not None:
        figure.update_xaxes(range=[0, limit * _SHOWN_BEYOND])
    _label_rows(figure, labels, len(series))
    return figure


def dots(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    unit: str,
    colors: Mapping[str, str],
) -> Any:
    """Return one row a label with a mark for each series, which differ in shape and colour: for many series or rows.

    Args:
        labels: What each row is about.
        series: By name, a value for each label.
        unit: The axis' title.
        colors: By name.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    spans = [[value for value in row if value is not None] for row in zip(*series.values(), strict=True)]
    ends = [(row, end) for row, span in enumerate(spans) if span for end in (min(span), max(span), None)]
    figure.add_scatter(
        x=[end for _, end in ends],
        y=[row for row, _ in ends],
        mode="lines",
        line={"color": "var(--line)", "width": 3},
        hoverinfo="skip",
        showlegend=False,
    )
    for number, (name, values) in enumerate(series.items()):
        figure.add_scatter(
            name=name,
            x=list(values),
            y=list(range(len(labels))),
            customdata=list(labels),
            mode="markers",
            marker={"color": colors[name], "size": 11, "symbol": _SYMBOLS[number % len(_SYMBOLS)]},
            zorder=len(series) - number,  # the first series must not hide behind the others
            hovertemplate="%{customdata}: %{x:.3f} " + unit + "<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(xaxis_title=unit, xaxis_rangemode="tozero")
    _label_rows(figure, labels, 1)
    return figure


def bars_height(num_labels: int, num_series: int) -> int:
    """Return the height in pixels at which ``bars`` and ``boxes`` are easy to read, and with one series the others."""
    return _MARGIN_PIXELS + num_labels * (_BAR_PIXELS * num_series + _LABEL_PIXELS)


def forest(
    labels: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[Sequence[float] | None],
    *,
    unit: str,
    colors: Sequence[str],
) -> Any:
    """Return differences as points with intervals around a line at zero, a row each."""
    import plotly.graph_objects as go

    above, below = _whiskers(values, intervals)
    figure = go.Figure(
        go.Scatter(
            x=list(values),
            y=list(range(len(labels))),
            customdata=list(labels),
            mode="markers",
            marker={"size": 10, "color": list(colors)},
            error_x={
                "type": "data",
                "array": above,
                "arrayminus": below,
                "thickness": 1.6,
                "width": 4,
                "color": "var(--ink)",
            },
            hovertemplate="%{customdata}: %{x:+.3f}<extra></extra>",
            showlegend=False,
        )
    )
    mark(figure, 0)
    figure.update_layout(xaxis_title=unit)
    _label_rows(figure, labels, 1)
    return figure


def boxes(
    labels: Sequence[str], series: Mapping[str, Sequence[Sequence[float]]], *, unit: str, colors: Mapping[str, str]
) -> Any:
    """Return box plots of distributions (5th, 25th, 50th, 75th and 95th percentile), one box per label and series.

    The percentiles are computed here, so that the page does not grow with the data. The axis is logarithmic: one
    model that is much worse than all others would leave them no room.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, groups in series.items():
        points = np.array([np.quantile(group, [0.05, 0.25, 0.5, 0.75, 0.95]) for group in groups])
        low, q1, median, q3, high = points.T.tolist()
        figure.add_box(
            name=name,
            y=list(range(len(labels))),
            lowerfence=low,
            q1=q1,
            median=median,
            q3=q3,
            upperfence=high,
            orientation="h",
            marker_color=colors[name],
            line_width=1.6,
        )
    ticks = [2.0**power for power in range(-6, 7)]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks], title=unit)
    figure.update_layout(boxmode="group")
    _label_rows(figure, labels, len(series))
    return figure


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_title: str,
    y_title: str,
    colors: Sequence[str],
    limit: float | None = None,
    points: bool = True,
) -> Any:
    """Return curves, one per series of (x, y).

    Args:
        series: By name, x and y.
        x_title: What x is.
        y_title: What y is.
        colors: One a series; those that share one differ in their dashes.
        limit: The scale is cut a little above it where a curve is higher.
        points: Whether each value is marked; leave that out where there are hundreds.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    seen: list[str] = []
    for (name, (x, y)), color in zip(series.items(), colors, strict=True):
        figure.add_scatter(
            name=name,
            x=list(x),
            y=list(y),
            mode="lines+markers" if points or len(x) == 1 else "lines",
            # Curves that share a colour differ in their dashes.
            line={"color": color, "width": 2.4, "dash": _DASHES[seen.count(color) % len(_DASHES)]},
            marker={"size": 6},
            hovertemplate=f"%{{x}} {x_title}: %{{y:.3f}}<extra>%{{fullData.name}}</extra>",
        )
        seen.append(color)
    figure.update_layout(xaxis_title=x_title, yaxis_title=y_title)
    if limit is not None and any(value > limit for _, y in series.values() for value in y):
        figure.update_yaxes(range=[0, limit * _SHOWN_BEYOND])
    return figure


def mark(figure: Any, x: float, text: str = "") -> None:
    """Draw a dotted line at ``x`` over all rows, with a word to the left of its top."""
    figure.add_vline(x=x, line_width=1.4, line_color="var(--muted)", line_dash="dot")
    if text:
        figure.add_annotation(
            x=x,
            y=1,
            yref="paper",
            xanchor="right",
            yanchor="top",
            text=text,
            showarrow=False,
            font={"size": 12, "color": "var(--muted)"},
        )


def _label_rows(figure: Any, labels: Sequence[str], num_series: int) -> None:
    gap = _LABEL_PIXELS / (_LABEL_PIXELS + _BAR_PIXELS * num_series)
    figure.update_layout(bargap=gap, boxgap=gap)
    # Rows are numbered upwards, readers go down.
    figure.update_yaxes(
        range=[len(labels) - 0.5 - gap / 2, -0.5 - gap / 2], showticklabels=False, showgrid=False, zeroline=False
    )
    for row, label in enumerate(labels):
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=row - (1 - gap) / 2,
            yanchor="bottom",
            text=label,
            showarrow=False,
        )


def _number(value: float | None, digits: int, limit: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" + (" →" if limit is not None and value > limit * _SHOWN_BEYOND else "")


def _whiskers(
    values: Sequence[float | None], intervals: Sequence[Sequence[float] | None]
) -> tuple[list[float], list[float]]:
    above: list[float] = []
    below: list[float] = []
    for value, bounds in zip(values, intervals, strict=True):
        low, high = (0.0, 0.0) if value is None or bounds is None else (value - bounds[0], bounds[1] - value)
        below.append(max(0.0, low))
        above.append(max(0.0, high))
    return above, below
