"""The figures of the reports, in the page's own colours; Plotly is imported when one is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_COLOR_ORDER = (0, 4, 1, 2, 3, 5, 6, 7)  # the first model, mostly the base, is grey; the third, its heir, is red


def color(index: int) -> str:
    """Return the colour of the model at ``index``, the same in every figure of a report."""
    return f"var(--c{_COLOR_ORDER[index % len(_COLOR_ORDER)]})"


def bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    intervals: Mapping[str, Sequence[Sequence[float] | None]] | None = None,
    *,
    unit: str,
    digits: int = 3,
    colors: Sequence[str] | None = None,
) -> Any:
    """Return horizontal bars grouped by label, one bar a series, whiskers from the intervals where given.

    Horizontal, since names of models and domains are long and phones are narrow.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for i, (name, values) in enumerate(series.items()):
        bounds = (intervals or {}).get(name, [None] * len(values))
        above, below = _whiskers(values, bounds)
        figure.add_bar(
            name=name,
            y=list(labels),
            x=list(values),
            orientation="h",
            marker_color=colors[i] if colors else color(i),
            error_x={"type": "data", "array": above, "arrayminus": below, "thickness": 1.3, "width": 3}
            if intervals
            else None,
            text=["" if value is None else f"{value:.{digits}f}" for value in values],
            # Beside a short bar there is room for its number, unless a whisker is drawn there.
            textposition="inside" if intervals else "auto",
            insidetextanchor="start",
            hovertemplate="%{y}: %{x:." + str(digits) + "f} " + unit + "<extra>%{fullData.name}</extra>",
        )
    # Bars are stacked upwards, readers go down: both orders are turned around.
    figure.update_layout(
        barmode="group",
        xaxis_title=unit,
        xaxis_rangemode="tozero",
        yaxis={"autorange": "reversed", "showgrid": False},
        legend_traceorder="normal",
    )
    return figure


def bars_height(num_labels: int, num_series: int) -> int:
    """Return the height in pixels at which ``bars`` has room for a number in each bar."""
    return 120 + num_labels * (26 * num_series + 22)


def forest(
    labels: Sequence[str], values: Sequence[float], intervals: Sequence[Sequence[float] | None], unit: str
) -> Any:
    """Return differences as points with intervals around a line at zero."""
    import plotly.graph_objects as go

    above, below = _whiskers(values, intervals)
    figure = go.Figure(
        go.Scatter(
            x=list(values),
            y=list(labels),
            mode="markers",
            marker={"size": 9, "color": "var(--c1)"},
            error_x={"type": "data", "array": above, "arrayminus": below, "thickness": 1.6, "width": 4},
            hovertemplate="%{y}: %{x:+.3f}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_vline(x=0, line_width=1.2, line_color="var(--c0)", line_dash="dot")
    figure.update_layout(xaxis_title=unit, yaxis={"autorange": "reversed"})
    return figure


def boxes(labels: Sequence[str], series: Mapping[str, Sequence[Sequence[float]]], *, unit: str) -> Any:
    """Return box plots of distributions (5th, 25th, 50th, 75th and 95th percentile), one box per label and series.

    The percentiles are computed here, so that the page does not grow with the data.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for i, (name, groups) in enumerate(series.items()):
        points = np.array([np.quantile(group, [0.05, 0.25, 0.5, 0.75, 0.95]) for group in groups])
        low, q1, median, q3, high = points.T.tolist()
        figure.add_box(
            name=name,
            y=list(labels),
            lowerfence=low,
            q1=q1,
            median=median,
            q3=q3,
            upperfence=high,
            orientation="h",
            marker_color=color(i),
            line_width=1.4,
        )
    figure.update_layout(boxmode="group", xaxis_title=unit, yaxis={"autorange": "reversed", "showgrid": False})
    return figure


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, x_title: str, y_title: str, colors: Sequence[str]
) -> Any:
    """Return curves, one per series of (x, y)."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for (name, (x, y)), line_color in zip(series.items(), colors, strict=True):
        figure.add_scatter(
            name=name,
            x=list(x),
            y=list(y),
            mode="lines+markers",
            line={"color": line_color, "width": 2.4},
            marker={"size": 6},
            hovertemplate=f"%{{x}} {x_title}: %{{y:.3f}}<extra>%{{fullData.name}}</extra>",
        )
    figure.update_layout(xaxis_title=x_title, yaxis_title=y_title)
    return figure


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
