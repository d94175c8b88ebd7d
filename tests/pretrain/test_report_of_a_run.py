"""The page that a finished run leaves beside its model: told from the metrics, drawn in a real Chromium."""

import json
import re
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser

from hanlm.artifact import open_artifact
from pretrain.config import Phase, PretrainConfig
from pretrain.train import pretrain
from pretrain.watching.options import ForgettingOptions
from pretrain.watching.report_facts import read_facts, thinned
from pretrain.watching.report_page import write_report

EVIL = "<img src=x onerror=alert(1)>"


def test_a_finished_run_holds_its_report_as_part_of_the_artifact(settings):
    out = pretrain(settings(steps=3, new_rows_steps=2, eval_tokens=2000))
    page = (out / "report.html").read_text(encoding="utf-8")
    manifest = open_artifact(out, "model").manifest
    assert "report.html" in json.dumps(manifest["files"])
    assert manifest["bits_per_byte"]["valid/zh"] > 0
    for title in ("Bits per byte", "Loss", "Rates and gradient", "Speed and memory", "Events", "Configuration"):
        assert re.search(rf"<h2[^>]*>.*{title}</h2>", page)
    assert "5 steps" in page
    assert str(manifest["inputs"]["model"]["path"]) in page


def test_a_long_curve_is_thinned_without_losing_its_ends_or_its_mean():
    x, y = [float(i) for i in range(1, 10_001)], [float(i % 7) for i in range(10_000)]
    few_x, few_y = thinned((x, y))
    assert len(few_x) <= 300
    assert few_x[-1] == 10_000.0
    assert sum(few_y) / len(few_y) == pytest.approx(3.0, abs=0.05)
    assert thinned(([1.0], [2.0])) == ([1.0], [2.0])


@pytest.fixture(scope="module")
def page(extended_model: Path, tiny_tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a month of training that has seen everything, with markup in the names of its documents."""
    folder = tmp_path_factory.mktemp("report")
    rows = []
    for step in range(1, 1201):
        fallen = 3.0 * 0.997**step + 2.0
        row = {"step": step, "loss": fallen, "grad_norm": 1.0, "lr": 1e-3, "lr/new_rows": 3e-3, "tflops": 412.0}
        row |= {"tokens_per_second": 81_000.0 + step % 50, "mfu": 0.417, "peak_memory_bytes": 70 * 2**30}
        row |= {"train/zh": fallen / 2, "train/en": 1.0, "loss/zh": fallen, "loss/en": 2.0, "train/zh/news": 1.2}
        rows.append(row)
    rows[100]["loss"] = rows[100]["grad_norm"] = None
    for step in range(0, 1201, 100):
        bits = {"valid/zh": 3.0 - step / 600, "valid/en": 1.0 + step / 30_000, "valid/code": 0.8}
        rows.append({"step": step, **bits, "valid/zh/news": 2.0, "valid/zh/a-rather-long-name-of-a-domain": 1.5})
        rows.append(
            {"step": step, "event": "forgetting", "verdict": "raised" if step == 300 else "held", "lang": "en"}
            | {"bits_per_byte": 1.0 + step / 30_000, "before_training": 1.0, "increase": step / 30_000}
            | {"max_increase": 0.05, "share_before": 0.1, "share": 0.2, "num_raises": 1}
        )
    samples = [
        {"loss": None, "set": "train-docs", "documents": [EVIL, "b" * 90]},
        {"loss": 2.0, "set": "x", "documents": ["c"]},
    ]
    for step, kind in ((101, "bad_gradient"), (640, "spike")):
        values = {"batch_loss": None if step == 101 else 31.5, "limit": 5.5, "skipped": step == 101, "samples": samples}
        rows.append({"step": step, "event": kind, "grad_norm": None, **values})
    metrics = folder / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    phases = (Phase(trainable="new_rows", lr=3e-3, steps=200), Phase(lr=1e-3, steps=1000))
    config = PretrainConfig(
        model=extended_model,
        tokens=(tiny_tokens,),
        out=folder / "zh-pretrained",
        phases=phases,
        forgetting=ForgettingOptions(max_increase=0.05),
    )
    record = {"counts": {"steps": 1200, "tokens": 9_830_400_000}, "train_seconds": 121_000.0, "bits_per_byte": {}}
    write_report(folder / "report.html", config, phases, metrics, record)
    assert len(read_facts(metrics).events) == 15
    return folder / "report.html"


needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium; Debian's package is chromium")


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_draws_without_a_complaint_and_fits_the_screen(browser: Browser, page: Path, width: int, dark: bool):
    browser.show(page, width=width, dark=dark)
    assert browser.complaints() == []
    assert browser.run("document.querySelectorAll('.plot .main-svg').length") >= 2 * 9
    assert browser.run("document.querySelectorAll('.plot.failed').length") == 0
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.too_wide(width) == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.slow
@needs_chromium
def test_a_language_has_one_colour_in_every_figure(browser: Browser, page: Path):
    browser.show(page, width=1280)
    named = browser.run(
        "[...document.querySelectorAll('.plot .legend .traces')].map(t => [t.querySelector('.legendtext').textContent, "
        "getComputedStyle(t.querySelector('.legendlines path')).stroke])"
    )
    colors: dict[str, set[str]] = {}
    for name, color in named:
        colors.setdefault(name, set()).add(color)
    assert {"zh", "en"} <= colors.keys()
    assert all(len(colors[lang]) == 1 for lang in ("zh", "en"))
    assert colors["zh"].isdisjoint(colors["en"])


@pytest.mark.slow
@pytest.mark.fault(25)
@needs_chromium
def test_the_events_are_told_and_markup_in_names_is_text(browser: Browser, page: Path):
    browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.alerted = true; };")
    browser.show(page, width=1280)
    text = browser.run("document.body.textContent")
    assert browser.run("window.alerted") is None
    assert EVIL in text
    assert browser.run("document.querySelectorAll('img').length") == 0
    for told in ("9,830,400,000", "33.6 h", "412.0 TFLOP/s", "42% of its peak", "loss jumped", "gradient not finite"):
        assert told in text, told
    assert "raised" in text
    cells = browser.run("[...document.querySelectorAll('td')].map(e => e.textContent)")
    assert "new rows" in cells
