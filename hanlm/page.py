"""Self-contained HTML reports: one file, no network, light and dark, readable on a phone, printable.

Every string is data and is escaped; a content security policy that names the hashes of our two scripts keeps
anything else from running or loading, whatever a document or a model is called.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from hanlm.page_bars import BarRow, Tone, bars_html, columns_html
from hanlm.page_excerpts import Excerpt, excerpts_html
from hanlm.page_tokens import Spelled, Token, tokens_html

type Cell = str | int | float | None

_FIGURE = re.compile(r"–|[-−+]?[\d.,]+ ?(%|bytes|kB|MB|GB|TB)")
_SHORT = 24  # a column whose cells are all this short is never broken over lines

MARKUP_KEYS = frozenset({"hovertemplate", "texttemplate"})
"""Figure properties in which Plotly's own markup (``<br>``, ``<b>``, ``<extra>``) is meant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One headline figure."""

    label: str
    value: str
    note: str = ""
    tone: Literal["plain", "good", "bad"] = "plain"


class Page:
    """A report that is built from top to bottom and written once.

    Figures take their colours from the page's theme: leave colours out, or name a variable of ``page.css`` such as
    ``var(--c0)`` (a neutral grey) to ``var(--c7)``; both change with the reader's light or dark setting.
    """

    def __init__(self, title: str, subtitle: str = "", *, language: str = "en", footer: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self.language = language
        self.footer = footer
        self._sections: list[tuple[str, list[str]]] = [("", [])]
        self._num_figures = 0

    def section(self, title: str) -> None:
        """Start a section; its title also becomes an entry of the page's navigation."""
        self._sections.append((title, []))

    def paragraph(self, text: str) -> None:
        """Add running text."""
        self._add(f"<p>{escape(text)}</p>")

    def cards(self, cards: Iterable[Card]) -> None:
        """Add a row of headline figures that wraps on narrow screens."""
        self._add('<div class="cards">' + "".join(map(_card, cards)) + "</div>")

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str = "") -> None:
        """Add a table that can be copied as tab-separated text or Markdown.

        On a phone a table with running text becomes one block a row, any other scrolls below its first column.
        Columns whose cells are all numbers, percentages, sizes or empty are set right-aligned. Floats are shown with
        four significant digits, whole numbers with thousands separators; pass strings for any other format.
        """
        body = [list(row) for row in rows]
        columns = list(zip(*body, strict=True)) or [("",)] * len(headers)
        classes = [_column_class(column) for column in columns]
        head = "".join(
            f'<th scope="col" class="{name}">{escape(text)}</th>' for name, text in zip(classes, headers, strict=True)
        )
        self._add(
            f'<figure class="table"><div class="table-head"><figcaption>{escape(caption)}</figcaption>'
            '<button type="button" data-format="tabs">Copy</button>'
            '<button type="button" data-format="markdown">Markdown</button></div>'
            f'<div class="table-scroll"><table class="{"blocks" if "text" in classes else "grid"}">'
            f"<thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(_table_row(headers, row, classes) for row in body)}</tbody></table></div></figure>"
        )

    def figure(self, figure: Any, caption: str = "", *, height: int = 380) -> None:
        """Add a Plotly figure (``plotly.graph_objects.Figure``), ``height`` pixels high.

        All its strings are shown as they are; only hover and text templates may use Plotly's markup.
        """
        self._num_figures += 1
        data = json.dumps(figure_data(figure), ensure_ascii=False, separators=(",", ":"))
        # Inside <script> nothing but "<" can end the element or open a comment.
        data = data.replace("<", "\\u003c")
        self._add(
            f'<figure><div class="plot" role="img" aria-label="{escape(caption)}" data-height="{height}" '
            f'style="height:{height}px"></div><script type="application/json">{data}</script>'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def details(self, summary: str, text: str) -> None:
        """Add preformatted text that is folded away behind its summary."""
        self._add(f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>")

    @contextmanager
    def fold(self, summary: str, note: str = "") -> Generator[None]:
        """Fold whatever is added within away behind its summary, which a note in small letters may follow."""
        note = f"<small>{escape(note)}</small>" if note else ""
        self._add(f'<details class="fold"><summary>{escape(summary)}{note}</summary>')
        yield
        self._add("</details>")

    def bars(self, headers: Sequence[str], rows: Sequence[BarRow], caption: str) -> None:
        """Add rows of plain bars, as many beside each other as there are headers."""
        self._add(f"<figure>{bars_html(headers, rows)}<figcaption>{escape(caption)}</figcaption></figure>")

    def columns(
        self,
        labels: Sequence[str],
        hints: Sequence[str],
        series: Mapping[str, tuple[Sequence[float], Tone]],
        *,
        unit: str,
        caption: str,
    ) -> None:
        """Add plain columns over the bins of a histogram; ``labels`` and ``hints`` are one a bin."""
        columns = columns_html(labels, hints, series, unit)
        self._add(f"<figure>{columns}<figcaption>{escape(caption)}</figcaption></figure>")

    def excerpts(self, *excerpts: Excerpt) -> None:
        """Add excerpts of texts beside each other."""
        self._add(excerpts_html(excerpts))

    def conversation(self, messages: Iterable[Mapping[str, str]]) -> None:
        """Add one conversation in a box of its own: chat messages, each with ``role`` and ``content``."""
        self._add(f'<div class="conversation">{"".join(map(_message, messages))}</div>')

    def pieces(self, label: str, pieces: Iterable[str]) -> None:
        """Add a text as its tokens, each on a background of its own; ``<0xE4>`` is shown as a byte."""
        self.tokens(label, [Token(text=piece, is_bytes=piece.startswith("<0x")) for piece in pieces])

    def tokens(self, label: str, parts: Iterable[Token | Spelled]) -> None:
        """Add tokens with what there is to know about each, shown on hover, touch and keyboard focus."""
        self._add(tokens_html(label, parts))

    def write(self, path: Path) -> None:
        """Write the page as one UTF-8 file; lone surrogates in the data become question marks."""
        path.write_text(self.render(), encoding="utf-8", errors="replace", newline="\n")

    def render(self) -> str:
        """Return the whole page."""
        scripts = [_plotly_js(), _asset("page.js")] if self._num_figures else [_asset("page.js")]
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        return (
            f'<!DOCTYPE html>\n<html lang="{escape(self.language)}"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>{escape(self.title)}</title><link rel="icon" href="data:,">'
            f"<style>{_asset('page.css')}</style></head>\n"
            '<body><header><div class="brand"><span class="seal" lang="zh" aria-hidden="true">漢</span>HanLM'
            f"</div><h1>{escape(self.title)}</h1>{subtitle}{self._navigation()}</header>\n"
            f"<main>{self._body()}</main>\n"
            f"<footer><p>{escape(self.footer or 'Written by HanLM.')}</p></footer>\n"
            + "".join(f"<script>{script}</script>\n" for script in scripts)
            + "</body></html>\n"
        )

    def _add(self, fragment: str) -> None:
        self._sections[-1][1].append(fragment)

    def _navigation(self) -> str:
        titles = [(i, title) for i, (title, _) in enumerate(self._sections) if title]
        links = "".join(f'<a href="#s{i}">{escape(title)}</a>' for i, title in titles)
        return f'<nav aria-label="Sections">{links}</nav>' if len(titles) > 1 else ""

    def _body(self) -> str:
        parts: list[str] = []
        for i, (title, fragments) in enumerate(self._sections):
            heading = f'<h2 id="s{i}"><span class="number">{i}</span>{escape(title)}</h2>' if title else ""
            if fragments or title:
                parts.append(f"<section>{heading}{''.join(fragments)}</section>\n")
        return "".join(parts)


def escape(text: str) -> str:
    """Return the text as HTML that shows exactly its characters, also inside a quoted attribute."""
    return html.escape(text, quote=True)


def format_cell(value: Cell) -> str:
    """Return a table cell as text: four significant digits, thousands separators, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:#.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value


def figure_data(figure: Any) -> dict[str, Any]:
    """Return a Plotly figure as plain JSON data, without its theme and with its strings escaped."""
    plain = json.loads(figure.to_json())
    plain["layout"].pop("template", None)
    return {"data": _escape_strings(plain["data"]), "layout": _escape_strings(plain["layout"])}


def _escape_strings(node: Any, key: str = "") -> Any:
    if isinstance(node, str):
        return node if key in MARKUP_KEYS else html.escape(node, quote=False)
    if isinstance(node, list):
        return [_escape_strings(item, key) for item in node]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(node, dict):
        return {name: _escape_strings(item, str(name)) for name, item in node.items()}  # pyright: ignore
    return node


def _table_row(headers: Sequence[str], row: Sequence[Cell], classes: Sequence[str]) -> str:
    cells = (
        f'<td class="{name}" data-header="{escape(header)}">{escape(format_cell(value))}</td>'
        for header, name, value in zip(headers, classes, row, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _policy(scripts: Sequence[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'; script-src " + " ".join(f"'sha256-{digest}'" for digest in hashes)
    )


def _card(card: Card) -> str:
    note = f'<span class="note">{escape(card.note)}</span>' if card.note else ""
    return (
        f'<div class="card {card.tone}"><span class="label">{escape(card.label)}</span>'
        f'<span class="value">{escape(card.value)}</span>{note}</div>'
    )


def _message(message: Mapping[str, str]) -> str:
    side = "user" if message["role"] == "user" else "assistant"
    return (
        f'<div class="message {side}"><div class="bubble">'
        f'<span class="role">{escape(message["role"])}</span>{escape(message["content"])}</div></div>'
    )


def _column_class(column: Sequence[Cell]) -> str:
    if all(not isinstance(value, str) or _FIGURE.fullmatch(value) for value in column):
        return "number"
    return "short" if all(len(format_cell(value)) <= _SHORT for value in column) else "text"


def _asset(name: str) -> str:
    return files("hanlm").joinpath("assets", name).read_text(encoding="utf-8")


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()
