"""Reports in a real headless Chromium: drawn without an error, nothing loaded, nothing wider than a phone."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.report import ReportConfig, report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium; Debian's package is chromium"),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)


class Browser:
    """A page in Chromium, driven by its DevTools protocol over a pipe (no port, no other package)."""

    def __init__(self, profile: Path) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()

        def place_pipes() -> None:  # Chromium reads commands from descriptor 3 and answers on 4
            os.dup2(read, 203)
            os.dup2(write, 204)
            os.dup2(203, 3)
            os.dup2(204, 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=place_pipes,  # noqa: PLW1509  (nothing else hands over descriptors of a chosen number)
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self._buffer = b""
        self._id = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._id:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], 60)[0], "Chromium does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "Chromium ended"
            self._buffer += data
        one, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(one)

    def run(self, javascript: str) -> Any:
        result = self.call("Runtime.evaluate", expression=javascript, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def show(self, page: Path, *, width: int, dark: bool = False) -> None:
        """Open a page and wait until its figures are drawn."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.set_dark(dark)
        self.call("Page.navigate", url=page.as_uri())
        # The page before this one may still be there for a moment, or none at all.
        is_here = f"location.href === {json.dumps(page.as_uri())} && document.readyState === 'complete'"
        self.wait_for(f"{is_here} && document.documentElement.dataset.drawn !== undefined")

    def set_dark(self, dark: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def wait_for(self, condition: str) -> None:
        deadline = time.monotonic() + 60
        while not self.run(condition):
            assert time.monotonic() < deadline, f"waited in vain for {condition}"
            time.sleep(0.1)

    def complaints(self) -> list[dict[str, Any]]:
        """Return what a developer would see in red or yellow in the console."""
        return [
            event
            for event in self.events
            if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
            or (event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"))
        ]

    def requests(self) -> list[str]:
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)
        os.close(self._write)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


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
    too_wide = (
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.table-scroll, svg, defs, script') && "
        f"e.getBoundingClientRect().right > {width} + 0.5).map(e => e.outerHTML.slice(0, 80))"
    )
    assert browser.run(too_wide) == []


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
