"""Reports in a real headless Chromium: drawn without an error, nothing loaded, nothing wider than a phone."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser

from eval.report import ReportConfig, report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium; Debian's package is chromium"),
]


@pytest.fixture
def page(make_run: Callable[..., Path]) -> Path:
    """The report of a run whose base is as bad at Chinese as a real one: far beyond the other bars."""
    return report(ReportConfig(run=make_run(changes={"base": (11.2, 3.0, 1.2, 0.3)}))) / "report.html"


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_report_draws_without_a_complaint_and_fits_the_screen(browser: Browser, page: Path, width: int, dark: bool):
    browser.show(page, width=width, dark=dark)
    assert browser.complaints() == []
    num_plots = browser.run("document.querySelectorAll('.plot').length")
    assert num_plots >= 6
    assert browser.run("document.querySelectorAll('.plot .main-svg').length") >= num_plots
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.too_wide(width) == []


def test_on_a_phone_numbers_stand_upright_and_tables_lose_nothing(browser: Browser, page: Path):
    """Numbers in bars are neither turned nor shrunk; what a table cannot show is a scroll away."""
    browser.show(page, width=400)
    texts = browser.run(
        "[...document.querySelectorAll('.plot .bartext')].map(e => [e.textContent, e.getBoundingClientRect().height, "
        "e.getAttribute('transform') || ''])"
    )
    assert len(texts) > 20
    assert [text for text, height, _ in texts if not 9 < height < 24] == []
    assert not any("rotate" in transform or "scale" in transform for _, _, transform in texts)
    cut = browser.run(
        "[...document.querySelectorAll('table')].filter(t => t.getBoundingClientRect().right > 400.5 && "
        "t.parentElement.scrollWidth <= t.parentElement.clientWidth).length"
    )
    assert cut == 0
    blocks = browser.run("[...document.querySelectorAll('table.blocks')].map(t => t.getBoundingClientRect().right)")
    assert blocks
    assert max(blocks) <= 400


def test_on_a_laptop_every_table_is_whole(browser: Browser, page: Path):
    browser.show(page, width=1280)
    scrolling = "[...document.querySelectorAll('.table-scroll')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert browser.run(scrolling) == 0


def test_report_loads_nothing(browser: Browser, page: Path):
    browser.show(page, width=1200)
    assert [url for url in browser.requests() if not url.startswith(("file:", "data:", "blob:"))] == []
    assert any(url.startswith("file:") for url in browser.requests())


@pytest.mark.fault(25)
def test_markup_in_what_a_model_said_is_shown_as_text(browser: Browser, page: Path):
    browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.alerted = true; };")
    browser.show(page, width=1200)
    assert browser.run("window.alerted") is None
    assert "<script>alert(1)</script>你好" in browser.run("document.querySelector('.message').textContent")


def test_figures_follow_the_theme_while_the_page_is_open(browser: Browser, page: Path):
    browser.show(page, width=1200)
    color = "document.querySelector('.plot .xtick text').style.fill"
    light = browser.run(color)
    browser.set_dark(True)
    browser.wait_for(f"{color} !== {json.dumps(light)}")


def test_tables_copy_as_tabs_and_markdown(browser: Browser, page: Path):
    browser.show(page, width=1200)
    browser.run("Object.defineProperty(navigator, 'clipboard', {value: {writeText: t => { window.copied = t; }}})")
    rows = browser.run("document.querySelector('figure.table table').rows.length")
    for kind, mark in (("tabs", "\t"), ("markdown", " | ")):
        browser.run(f"document.querySelector('button[data-format={kind}]').click()")
        copied = browser.run("window.copied")
        assert mark in copied.splitlines()[0]
        assert len(copied.splitlines()) == rows + (kind == "markdown")


def test_report_prints_in_light_colours(browser: Browser, page: Path):
    browser.show(page, width=1200, dark=True)
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.call("Emulation.setEmulatedMedia", media="")
