"""The report page: everything escaped, nothing loaded from anywhere, figures and tables complete."""

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
import pytest

from hanlm.page import Card, Page, figure_data, format_cell
from hanlm.page_tokens import Spelled, Token

EVIL = "</script><script>alert('漢')</script>\"><img src=x onerror=alert(1)>"


class Outline(HTMLParser):
    """What a browser would see: the tags with their attributes, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[tuple[dict[str, str | None], str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append((self.tags[-1][1], data))
        elif self.cdata_elem is None:
            self.text += data


def outline(page: Page) -> Outline:
    parsed = Outline()
    parsed.feed(page.render())
    parsed.close()
    return parsed


def page_with_everything(name: str) -> Page:
    page = Page(name, name, footer=name)
    page.paragraph(name)
    page.cards([Card(label=name, value=name, note=name, tone="good")])
    page.section(name)
    page.table([name, "Bits"], [[name, 1.5], [name, None]], caption=name)
    page.figure(go.Figure(go.Bar(name=name, x=[name], y=[1.0])), name)
    page.section("Chat")
    page.details(name, name)
    page.conversation([{"role": name, "content": name}])
    page.pieces(name, [name, "<0xE4>"])
    byte = Token(text=name, hint=name, note=name, is_bytes=True)
    page.tokens(name, [Token(text=name), Spelled(text=name, tokens=[byte, byte])])
    return page


@pytest.mark.fault(25)
def test_markup_in_names_is_shown_and_never_becomes_an_element():
    evil, harmless = outline(page_with_everything(EVIL)), outline(page_with_everything("name"))
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in harmless.tags]
    assert len(evil.tags) > 40
    assert evil.text.count(EVIL) == harmless.text.count("name") >= 15
    assert not any(key.startswith("on") for _, attributes in evil.tags for key in attributes)


@pytest.mark.fault(25)
def test_markup_in_figure_names_reaches_plotly_escaped():
    figure = go.Figure(go.Bar(name=EVIL, x=[EVIL], y=[1.0], hovertemplate="%{y}<br><extra></extra>"))
    bar = figure_data(figure)["data"][0]
    assert "<" not in bar["name"] + bar["x"][0]
    assert bar["hovertemplate"] == "%{y}<br><extra></extra>"


def test_only_our_own_scripts_may_run():
    """The policy lists the hash of each script that is not data and nothing else; plotly is inlined once."""
    parsed = outline(page_with_everything("name"))
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    code = [body for attributes, body in parsed.scripts if attributes.get("type") != "application/json"]
    digests = {base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in code}
    assert set(re.findall(r"'sha256-([^']+)'", policy or "")) == digests
    assert len(code) == 2
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_page_loads_nothing():
    parsed = outline(page_with_everything("name"))
    links = [v for _, a in parsed.tags for k, v in a.items() if k in {"src", "href", "srcset", "action"}]
    assert len(links) > 2
    assert all(link and link.startswith(("#", "data:")) for link in links)


def test_page_without_figures_leaves_plotly_out():
    page = Page("Small")
    page.table(["a"], [[1]])
    assert len(page.render()) < 40_000


def test_figure_data_survives_the_page_unchanged():
    figure = go.Figure(go.Scatter(x=[1.0, 2.0], y=[0.5, math.nan], name="漢"))
    page = Page("Figure")
    page.figure(figure, "caption")
    data = [body for a, body in outline(page).scripts if a.get("type") == "application/json"]
    assert [json.loads(body) for body in data] == [figure_data(figure)]
    assert "template" not in figure_data(figure)["layout"]


def test_lone_surrogates_do_not_stop_a_report(tmp_path: Path):
    page = Page("bad \ud800 name")
    page.write(tmp_path / "report.html")
    assert "bad ? name" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_table_rows_must_match_the_headers():
    with pytest.raises(ValueError):
        Page("x").table(["a", "b"], [["only one"]])


def test_cells_name_their_column_for_phones():
    """A table with sentences is shown as blocks there, any other scrolls."""
    page = Page("x")
    page.table(["Claim", "Holds"], [["a sentence that is too long for one line", "yes"]])
    page.table(["Model", "Bits"], [["base", 1.5]])
    tags = outline(page).tags
    assert [a["class"] for tag, a in tags if tag == "table"] == ["blocks", "grid"]
    assert [a["data-header"] for tag, a in tags if tag == "td"] == ["Claim", "Holds", "Model", "Bits"]


def test_each_conversation_has_a_box_of_its_own():
    page = Page("x")
    for _ in range(3):
        page.conversation([{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}])
    classes = [a.get("class") for _, a in outline(page).tags]
    assert classes.count("conversation") == 3
    assert classes.count("bubble") == 6


def luminance(color: str) -> float:
    """Relative luminance of ``#rrggbb`` as WCAG 2.2 defines it."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_figures_on_bars_can_be_read_in_every_theme():
    """They have the colour of the surface; WCAG asks for a contrast of 4.5."""
    css = files("hanlm").joinpath("assets", "page.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"(--[a-z0-9]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    assert len(themes) == 3  # light, dark, printed
    for theme in themes:
        surface = luminance(theme["--surface"].replace("#fff", "#ffffff")[:7])
        for name in ("--muted", *(f"--c{i}" for i in range(8))):
            low, high = sorted((surface, luminance(theme[name])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, theme[name])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.1, "2.100"), (5.412345, "5.412"), (12345, "12,345"), (1234.5, "1,234"), (None, "–"), ("2.1", "2.1")],
)
def test_cells_are_formatted_by_type(value: str | int | float | None, shown: str):
    assert format_cell(value) == shown
