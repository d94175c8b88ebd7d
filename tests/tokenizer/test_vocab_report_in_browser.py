"""The vocabulary report in a real headless Chromium: drawn, readable on a phone, ids by pointer, keyboard and touch."""

import json
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, Browser

from tokenizer.extend import ExtendConfig, extend

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium; Debian's package is chromium"),
]

EVIL_NAME = "<svg onload=alert(1)>"
EVIL_TOKEN = "<script>alert(1)</script>"
LONG_NAME = "a-tokenizer-whose-name-" + "is-much-too-long-" * 6 + "for-a-phone"


@pytest.fixture(scope="module")
def page(tiny_model_folder: Path, extended_folder: Path, chinese_file: Path, tmp_path_factory) -> Path:
    """A report whose names and tokens are markup, and whose names are long."""
    from tokenizers import Tokenizer, models

    folder = tmp_path_factory.mktemp("report")
    evil = folder / EVIL_NAME
    evil.mkdir()
    Tokenizer(models.WordLevel({EVIL_TOKEN: 0}, unk_token=EVIL_TOKEN)).save(str(evil / "tokenizer.json"))
    letters = folder / "letters.jsonl"
    lines = [f"他打开第{i}封信，读了两遍，又放回抽屉里，什么也没有说。" for i in range(200)]
    letters.write_text("".join(json.dumps({"text": line, "domain": "letters"}) + "\n" for line in lines))
    out = extend(
        ExtendConfig(
            base=tiny_model_folder / "tokenizer.model",
            corpus=(chinese_file, letters),
            num_new_tokens=120,
            out=folder / "out",
            compare=(str(evil), f"{LONG_NAME}={extended_folder}", f"{LONG_NAME}2={tiny_model_folder}"),
        )
    )
    return out / "vocab_report.html"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_draws_without_a_complaint_and_fits_the_screen(browser: Browser, page: Path, width: int, dark: bool):
    browser.show(page, width=width, dark=dark)
    assert browser.complaints() == []
    assert browser.run("document.querySelectorAll('.plot').length") == 4
    assert browser.run("document.querySelectorAll('.plot .main-svg').length") >= 3
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.too_wide(width) == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [1280, 400])
def test_figures_have_titles_captions_and_legends_inside_them(browser: Browser, page: Path, width: int):
    browser.show(page, width=width)
    titles = browser.run("[...document.querySelectorAll('.plot .xtitle, .plot .ytitle')].map(e => e.textContent)")
    costs = "cost of a character beside the base's"
    assert titles[:5] == ["tokens per character", "new tokens", costs, "new tokens", "tokens per character"]
    assert titles[5:] == ["% of the table's characters"]
    captions = browser.run("[...document.querySelectorAll('.plot')].map(e => e.getAttribute('aria-label').length)")
    assert min(captions) > 40
    cut = (
        "[...document.querySelectorAll('.plot')].flatMap(p => { const box = p.getBoundingClientRect(); return "
        "[...p.querySelectorAll('.legendtext, .xtick text, .ytick text, .annotation-text')].filter(t => { "
        "const r = t.getBoundingClientRect(); return r.left < box.left - 1 || r.right > box.right + 1 || "
        "r.top < box.top - 1 || r.bottom > box.bottom + 1; }).map(t => t.textContent); })"
    )
    assert browser.run(cut) == []
    assert browser.run("document.querySelectorAll('.plot .legendtext').length") >= 13


@pytest.mark.fault(25)
def test_markup_in_names_and_tokens_is_shown_as_text(browser: Browser, page: Path):
    browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.alerted = true; };")
    browser.show(page, width=1280)
    assert browser.run("window.alerted") is None
    pieces = browser.run("[...document.querySelectorAll('.piece')].map(e => e.textContent)")
    assert EVIL_TOKEN in pieces
    assert EVIL_NAME in browser.run("[...document.querySelectorAll('th')].map(e => e.textContent)")
    assert EVIL_NAME in browser.run("[...document.querySelectorAll('.legendtext')].map(e => e.textContent).join('')")
    assert browser.run("document.querySelectorAll('[onload]').length") == 0


def hint(browser: Browser) -> str | None:
    """Return the hint that is shown; it stands within the window as soon as scrolling ends."""
    if browser.run("document.getElementById('hint').hidden"):
        return None
    browser.wait_for(
        "(() => { const r = document.getElementById('hint').getBoundingClientRect(); "
        "return r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight; })()"
    )
    return browser.run("document.getElementById('hint').textContent")


def center(browser: Browser, javascript: str) -> dict[str, float]:
    """Scroll an element into view; returns where a pointer finds it."""
    browser.run(f"{javascript}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    browser.run("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    box = browser.run(
        f"(() => {{ const r = {javascript}.getClientRects()[0]; return [r.x, r.y, r.width, r.height]; }})()"
    )
    return {"x": box[0] + box[2] / 2, "y": box[1] + box[3] / 2}


@pytest.mark.parametrize("width", [1280, 400])
def test_pointing_at_a_token_shows_its_id(browser: Browser, page: Path, width: int):
    browser.show(page, width=width)
    vocabulary = json.loads((page.parent / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    box = "[...document.querySelectorAll('.pieces')].find(e => e.textContent.startsWith('extended'))"
    line = f"{box}.querySelector('.line')"
    num_tokens = browser.run(f"{line}.querySelectorAll('[data-hint]').length")
    assert num_tokens > 10
    for i in range(num_tokens):
        token = f"{line}.querySelectorAll('[data-hint]')[{i}]"
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", **center(browser, token))
        text = browser.run(f"{token}.textContent")
        is_byte = browser.run(f"{token}.classList.contains('byte')")
        piece = f"<0x{text}>" if is_byte else text.replace("␣", "▁")
        assert hint(browser) == f"id {vocabulary[piece]}"
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert hint(browser) is None


def press(browser: Browser, key: str) -> None:
    codes = {"Tab": 9, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37, "End": 35, "Home": 36}
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key])


def test_the_keyboard_reaches_every_token(browser: Browser, page: Path):
    browser.show(page, width=400)
    line = "document.querySelector('.line')"
    assert browser.run(f"{line}.querySelectorAll('[tabindex=\"0\"]').length") == 1
    browser.run(f"{line}.querySelector('[tabindex=\"0\"]').focus()")
    hints = browser.run(f"[...{line}.querySelectorAll('[data-hint]')].map(e => e.dataset.hint)")
    assert hint(browser) == hints[0]
    for expected in hints[1:]:
        press(browser, "ArrowRight")
        browser.wait_for("!document.getElementById('hint').hidden")
        assert hint(browser) == expected
    press(browser, "Home")
    assert hint(browser) == hints[0]
    press(browser, "Escape")
    assert hint(browser) is None
    press(browser, "Tab")  # one stop a line: the next is in another line
    assert browser.run("document.activeElement.closest('.line') !== document.querySelector('.line')")


def test_touching_a_token_shows_its_id(browser: Browser, page: Path):
    browser.show(page, width=400)
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        at = center(browser, "document.querySelector('.line [data-hint]:nth-of-type(2)')")
        browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[at])
        browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        browser.wait_for("!document.getElementById('hint').hidden")
        assert str(hint(browser)).startswith("id ")
    finally:
        browser.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_touching_a_grey_line_of_the_size_curve_names_its_domain(browser: Browser, page: Path):
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        browser.show(page, width=400)
        names = (
            "[...document.querySelectorAll('.plot')[2].querySelectorAll('.annotation-text')].map(e => e.textContent)"
        )
        assert sorted(browser.run(names)) == ["letters", "story"]
        line = "document.querySelectorAll('.plot')[2].querySelector('.scatterlayer .trace path.js-line')"
        center(browser, line)
        end = f"(() => {{ const l = {line}, p = l.getPointAtLength(l.getTotalLength()), m = l.getScreenCTM(); "
        x, y = browser.run(end + "return [p.x * m.a + m.e, p.y * m.d + m.f]; })()")
        browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x - 1, "y": y}])
        browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        shown = "[...document.querySelectorAll('.hoverlayer .hovertext')].map(e => e.textContent).join()"
        browser.wait_for(f"{shown} !== ''")
        assert browser.run(shown).startswith("story, 120 new tokens")
    finally:
        browser.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_bytes_stand_under_the_character_that_they_spell(browser: Browser, page: Path):
    browser.show(page, width=400)
    groups: list[list[Any]] = browser.run(
        "[...document.querySelectorAll('ruby.spelled')].map(e => { const c = e.querySelector('rt'); return "
        "[c.textContent, [...e.querySelectorAll('.piece')].map(p => p.textContent), "
        "c.getBoundingClientRect().bottom <= e.querySelector('.piece').getBoundingClientRect().top + 1]; })"
    )
    assert len(groups) > 50
    for char, spelled, is_above in groups:
        assert bytes.fromhex("".join(spelled)).decode() == char
        assert is_above
