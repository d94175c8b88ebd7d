"""What every report leaves besides its page: JSON that any reader accepts, and a table on the terminal."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from hanlm.page import Cell, format_cell


def to_json(value: object) -> str:
    """Return strict JSON (no NaN, no lone surrogates), readable by people."""
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    return text.encode(errors="replace").decode() + "\n"


def write_json(path: Path, value: object) -> None:
    """Write what ``to_json`` gives."""
    path.write_text(to_json(value), encoding="utf-8")


_LOG_WIDTH = 120  # columns in a log file, which has no width of its own


def print_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table to standard error, where people look; numbers right-aligned."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold")
    body = [list(row) for row in rows]
    for i, header in enumerate(headers):
        numeric = all(not isinstance(row[i], str) for row in body)
        table.add_column(Text(header), justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*(Text(format_cell(cell)) for cell in row))
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    console.print(table)


def with_interval(value: float, ci95: Sequence[float] | None) -> str:
    """Return a figure with its interval, such as ``2.104 [2.081, 2.127]``."""
    return f"{value:.3f}" + ("" if ci95 is None else f" {bounds(ci95)}")


def bounds(ci95: Sequence[float] | None, *, sign: str = "") -> str:
    """Return an interval such as ``[2.081, 2.127]``, with ``sign="+"`` as ``[-0.031, +0.012]``."""
    return "–" if ci95 is None else f"[{ci95[0]:{sign}.3f}, {ci95[1]:{sign}.3f}]"
