"""A disk that fills up while a report is written: one sentence, and the report that was there stays."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hanlm.cli import main


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.fault(4)
@pytest.mark.parametrize("command", ["ppl", "bench", "report"])
@pytest.mark.parametrize("num_bytes", [100, 100_000])
def test_a_full_disk_costs_no_report_that_was_there(
    make_run: Callable[..., Path],
    tiny_model_folder: Path,
    tmp_path: Path,
    full_disk: Callable[..., str],
    command: str,
    num_bytes: int,
):
    """100 bytes stop the figures, 100,000 the page."""
    run, data, out = make_run(), tmp_path / "data.jsonl", tmp_path / "out"
    row = {"text": "The river runs.", "prompt": "The river", "choices": [" runs.", " stops."], "label": 0}
    data.write_text(json.dumps(row) + "\n", encoding="utf-8")
    model = ["--model", tiny_model_folder, "--num-resamples", 10]
    words = {
        "ppl": ["ppl", *model, "--data", data, "--out", out],
        "bench": ["bench", *model, "--task", data, "--out", out],
        "report": ["report", run, "--out", out],
    }[command]
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    assert done.value.code == 0
    earlier = content(out)
    full_disk(num_bytes, *words, "--overwrite")
    assert content(out) == earlier
    assert not (tmp_path / "out.work" / "result").exists()
