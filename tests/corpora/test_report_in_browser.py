"""The corpus report in a real headless Chromium: drawn, readable on a phone, markup in documents harmless."""

import json
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser
from report_build import RULES, build_with_report

from corpora.facts import Facts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium; Debian's package is chromium"),
]

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
LONG_NAME = "a-domain-whose-name-" + "is-much-too-long-" * 6 + "for-a-phone"


def many_reasons(facts: Facts) -> str | None:
    """Drop some documents for as many reasons as the rules of Gopher have."""
    number = len(facts.text) % 11
    return f"gopher_duplicated_{number}_n_grams" if 0 < number < 9 else None


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose texts and domains are markup, and whose names are long."""
    folder = tmp_path_factory.mktemp("report")
    lines = [f"第{i}天早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去，遇见了{i * 37}个人。" for i in range(40)]
    rows = [{"text": f"{EVIL}　{line}", "domain": EVIL, "license": EVIL} for line in lines]
    rows += [
        {"text": line * (i % 30 + 1), "domain": LONG_NAME, "id": "x" * 90 + str(i)} for i, line in enumerate(lines)
    ]
    rows += [{"text": line, "domain": "copies"} for line in lines[:4]]
    rows += [{"text": f"{EVIL}short"[-18:], "domain": f"domain-{i}"} for i in range(20)]
    source = folder / "in.jsonl"
    source.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) + "{<img>\n", encoding="utf-8"
    )
    return (
        build_with_report([source], folder / "work", rules={**RULES, "many-reasons": many_reasons})[0] / "report.html"
    )


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_fits_the_screen_folded_and_open(browser: Browser, page: Path, width: int, dark: bool):
    browser.show(page, width=width, dark=dark)
    for is_open in (False, True):
        browser.run(f"document.querySelectorAll('details').forEach(e => {{ e.open = {json.dumps(is_open)}; }})")
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.too_wide(width, except_in=".table-scroll, script") == []
    assert browser.run("document.querySelectorAll('details.fold').length") > 5
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "data:"))] == []


def test_on_a_laptop_every_table_is_whole(browser: Browser, page: Path):
    browser.show(page, width=1280)
    browser.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert len(json.loads((page.parent / "report.json").read_text())["steps"][4]["dropped"]) >= 6
    scrolling = "[...document.querySelectorAll('.table-scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert browser.run(f"{scrolling}.map(e => e.textContent.slice(0, 300))") == []


@pytest.mark.parametrize("width", [1280, 400])
def test_bars_are_as_long_as_their_figures_say(browser: Browser, page: Path, width: int):
    """In the funnel what stays and what goes share a track whose whole length is what came in."""
    browser.show(page, width=width)
    lengths = browser.run(
        "[...document.querySelectorAll('.bars.n2')][0].querySelectorAll('.bar-row:not(.head)').length && "
        "[...[...document.querySelectorAll('.bars.n2')][0].querySelectorAll('.bar-row:not(.head)')].map(row => { "
        "const t = row.querySelector('.track'); return [row.querySelector('b').textContent, "
        "...['main', 'lost'].map(c => (t.querySelector('.' + c)?.getBoundingClientRect().width || 0) / "
        "t.getBoundingClientRect().width)]; })"
    )
    steps = {step["name"]: step for step in json.loads((page.parent / "report.json").read_text())["steps"]}
    counts = json.loads((page.parent / "report.json").read_text())["counts"]
    shown = [(name, main, lost) for name, main, lost in lengths if name in steps]
    assert len(shown) >= 2
    for name, main, lost in shown:
        step = steps[name]
        assert main == pytest.approx(step["documents_out"] / counts["documents_in"], abs=0.02)
        gone = step["documents_in"] - step["documents_out"]
        assert lost == pytest.approx(gone / counts["documents_in"], abs=0.02)


def test_colours_of_bars_follow_the_theme_and_stand_out(browser: Browser, page: Path):
    browser.show(page, width=1280)
    color = "getComputedStyle(document.querySelector('.track i.main')).backgroundColor"
    light = browser.run(color)
    browser.set_dark(True)
    browser.wait_for(f"{color} !== {json.dumps(light)}")


def test_pointing_at_a_column_shows_its_counts(browser: Browser, page: Path):
    browser.show(page, width=1280)
    browser.run("document.querySelector('.columns').scrollIntoView({block: 'center', behavior: 'instant'})")
    box = browser.run(
        "(() => { const r = document.querySelectorAll('.column')[2].getBoundingClientRect(); "
        "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    browser.wait_for("!document.getElementById('hint').hidden")
    text = browser.run("document.getElementById('hint').textContent")
    assert " characters: " in text
    assert text.endswith(" kept")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)


@pytest.mark.fault(25)
def test_markup_in_documents_and_domains_runs_nowhere(browser: Browser, page: Path):
    browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.alerted = true; };")
    browser.show(page, width=1280)
    browser.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert browser.run("window.alerted") is None
    assert browser.run("document.querySelectorAll('img, [onerror]').length") == 0
    assert EVIL in browser.run("[...document.querySelectorAll('td, summary')].map(e => e.textContent).join(' ')")
