"""``hanlm report``: the figures of a run gathered, judged, and told; a part that is missing is named."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.report import ReportConfig, plan, report
from eval.run_facts import Roles, gather
from eval.segmentation import segment
from eval.summary import judge, summarise
from hanlm.artifact import open_artifact
from hanlm.cli import main
from hanlm.errors import ArtifactError, InputError
from hanlm.locks import exclusive

ROLES = Roles(
    base="base",
    extended="extended",
    pretrained="pretrained",
    control="control",
    ppl="ppl",
    bench="bench",
    before="before",
    after="after",
    chat="chat",
)
SUMMARY_KEYS = {
    "tokens_per_char": {"base", "extended"},
    "zh_bits_per_byte": {"base", "extended", "pretrained", "control"},
    "en_bits_per_byte": {"base", "pretrained"},
    "task_accuracy": {"before", "after"},
    "train_seconds": {"pretrained", "control"},
    "seconds": {"extended", "pretrained", "control", "ppl", "bench", "chat"},
    "peak_rss_bytes": {"extended", "pretrained", "control", "ppl", "bench", "chat"},
    "artifacts": {"extended", "pretrained", "control", "ppl", "bench", "chat", "report"},
}


def test_summary_holds_exactly_the_keys_that_others_read(make_run: Callable[..., Path]):
    run = make_run()
    out = report(ReportConfig(run=run))
    assert out == run / "report"
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert {key: set(value) for key, value in summary.items()} == SUMMARY_KEYS
    assert summary["tokens_per_char"] == pytest.approx({"base": 3.0, "extended": 0.8}, rel=0.02)
    assert summary["zh_bits_per_byte"]["pretrained"] == pytest.approx(1.5 / np.log(2), rel=0.02)
    assert summary["task_accuracy"] == {"before": 0.5, "after": 0.8}
    assert not (run / "summary.json.new").exists()


def test_report_is_an_artifact_with_the_keys_of_ppl_and_the_runs_own(make_run: Callable[..., Path]):
    out = report(ReportConfig(run=make_run()))
    assert set(open_artifact(out, "report").manifest["files"]) == {"report.json", "report.html"}
    written = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [model["name"] for model in written["models"]] == ["base", "extended", "pretrained", "control"]
    assert {"differences", "tokens_per_char", "zh_bits_per_byte", "task", "chat", "stages"} <= written.keys()
    assert [verdict["passed"] for verdict in written["verdicts"]] == [True] * 5
    assert written["missing"] == []


def test_a_claim_that_fails_is_said_to_fail(make_run: Callable[..., Path]):
    run = make_run(changes={"pretrained": (2.0, 0.8, 1.5, 0.3)})
    written = json.loads((report(ReportConfig(run=run)) / "report.json").read_text(encoding="utf-8"))
    assert [verdict["passed"] for verdict in written["verdicts"]] == [True, False, True, False, True]


def verdicts(run: Path) -> list[dict[str, Any]]:
    return json.loads((report(ReportConfig(run=run)) / "report.json").read_text(encoding="utf-8"))["verdicts"]


@pytest.mark.parametrize(("control", "holds"), [(170.0, False), (179.0, True), (400.0, True)])
def test_a_control_that_trained_for_less_time_proves_nothing(
    make_run: Callable[..., Path], control: float, holds: bool
):
    claim = verdicts(make_run(train_seconds={"pretrained": 180.0, "control": control}))[1]
    assert claim["passed"] is holds
    assert f"{control:.0f} s of training against 180 s" in claim["figures"]


@pytest.mark.parametrize(("a", "number"), [("control", 1), ("extended", 2)])
def test_a_gain_whose_paired_interval_holds_zero_is_none(make_run: Callable[..., Path], a: str, number: int):
    run = make_run()
    facts = gather(run, ROLES)
    assert judge(summarise(facts, ROLES, run, run), facts, ROLES)[number].passed is True
    assert facts.ppl is not None
    found = next(
        d for d in facts.ppl["language_differences"] if d["lang"] == "zh" and {d["a"], d["b"]} == {a, "pretrained"}
    )
    low, high = sorted(found["ci95"], key=abs)
    found["ci95"] = sorted([-0.1 * low, high])
    assert judge(summarise(facts, ROLES, run, run), facts, ROLES)[number].passed is False


def test_new_tokens_alone_are_no_learning(make_run: Callable[..., Path]):
    """Extended and untrained, the model needs far fewer bits than the base already: the claim is about training."""
    written = verdicts(make_run(changes={"extended": (1.6, 0.8, 1.2, 0.3), "pretrained": (1.5, 0.8, 1.25, 0.3)}))
    assert written[2]["passed"] is False
    assert "2.297 → 2.153" in written[2]["figures"]


def test_claims_that_fail_are_said_aloud_and_fail_a_strict_report(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    run = make_run(changes={"pretrained": (2.0, 0.8, 1.5, 0.3)}, without=frozenset({"bench"}))
    report(ReportConfig(run=run))
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("CLAIM ")]
    assert [line.split(":")[0] for line in said] == ["CLAIM does not hold"] * 2 + ["CLAIM was not measured"]
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(run), "--overwrite", "--strict"])
    assert stopped.value.code == 2
    assert "expected all 5 claims of the run to hold, got 2" in capsys.readouterr().err
    assert json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))["verdicts"][1]["passed"] is False


def test_a_strict_report_of_a_run_whose_claims_hold_is_written(make_run: Callable[..., Path]):
    assert (report(ReportConfig(run=make_run(), strict=True)) / "report.html").is_file()


@pytest.mark.fault(25)
def test_page_tells_the_story_and_escapes_what_the_model_said(make_run: Callable[..., Path]):
    page = (report(ReportConfig(run=make_run())) / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;你好" in page
    for heading in (
        "The vocabulary",
        "Bits per byte",
        "Training",
        "A task",
        "Questions and answers",
        "Time and memory",
    ):
        assert heading in page


@pytest.mark.parametrize("stage", ["extended", "pretrained", "control", "ppl", "bench", "chat"])
def test_a_missing_stage_is_named_and_the_rest_is_told(make_run: Callable[..., Path], stage: str):
    run = make_run(without=frozenset({stage}))
    out = report(ReportConfig(run=run))
    missing = json.loads((out / "report.json").read_text(encoding="utf-8"))["missing"]
    assert len(missing) == 1
    assert f"'{stage}'" in missing[0]
    assert missing[0] in (plan(ReportConfig(run=run, overwrite=True)))
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert (summary["task_accuracy"]["after"] is None) == (stage == "bench")
    assert (summary["zh_bits_per_byte"]["base"] is None) == (stage == "ppl")


def test_a_run_that_was_moved_is_read_where_it_is(make_run: Callable[..., Path]):
    run = make_run()
    moved = run.rename(run.with_name("moved"))
    facts = gather(moved, ROLES)
    assert facts.missing == []


def test_differences_are_found_in_either_order(make_run: Callable[..., Path]):
    facts = gather(make_run(), ROLES)
    one, other = facts.difference("pretrained", "control", "zh"), facts.difference("control", "pretrained", "zh")
    assert one is not None
    assert other is not None
    assert one["bits_per_byte"] == pytest.approx(-other["bits_per_byte"])
    assert one["ci95"] == [-other["ci95"][1], -other["ci95"][0]]
    assert other["ci95"][0] <= other["bits_per_byte"] <= other["ci95"][1] < 0


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"run\.json is missing"):
        report(ReportConfig(run=tmp_path))


def test_a_run_without_any_part_that_a_report_tells_is_refused(make_run: Callable[..., Path]):
    run = make_run(without=frozenset({"extended", "pretrained", "control", "ppl", "bench", "chat"}))
    with pytest.raises(InputError, match=r"holds nothing to report: none of its finished stages \(none\) is called"):
        report(ReportConfig(run=run))
    assert not (run / "report").exists()


def test_a_run_that_is_going_on_is_refused_but_to_the_run_itself(make_run: Callable[..., Path]):
    run = make_run()
    command = [sys.executable, "-m", "hanlm", "report", str(run)]
    with exclusive(run / ".lock", str(run)):
        with pytest.raises(ArtifactError, match=r"run is being written by another hanlm process \(\d+\); wait for it"):
            plan(ReportConfig(run=run))
        assert not (run / "report").exists()
        started_by_us = subprocess.run(command, capture_output=True, text=True, check=False)
    assert started_by_us.returncode == 0, started_by_us.stderr
    report(ReportConfig(run=run, overwrite=True))  # and to anyone when it is over


@pytest.mark.fault(6)
def test_a_report_changed_by_hand_is_refused(make_run: Callable[..., Path]):
    run = make_run()
    path = run / "ppl" / "report.json"
    path.write_text(path.read_text(encoding="utf-8").replace("overall", "Overall"), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"ppl/report\.json fails its checksum"):
        report(ReportConfig(run=run))
    assert not (run / "summary.json").exists()


def test_a_sentence_is_shown_as_its_tokens(tiny_tokenizer_folder: Path, tmp_path: Path):
    pieces = segment(tiny_tokenizer_folder, "the 好")
    assert pieces is not None
    letters = "".join(piece for piece in pieces if not piece.startswith("<0x"))
    assert letters.replace("▁", " ").split() == ["the"]
    assert pieces[-3:] == ["<0xE5>", "<0xA5>", "<0xBD>"]
    assert segment(tmp_path, "the") is None


@pytest.mark.fault(3)
def test_ctrl_c_leaves_the_run_as_it_was(make_run: Callable[..., Path], interrupt: Callable[..., str]):
    run = make_run()
    interrupt("eval.run_page.write_page", "report", run)
    assert not (run / "report").exists()
    assert not (run / "summary.json").exists()


@pytest.mark.fault(3)
@pytest.mark.parametrize("moment", ["eval.report.replace_text", "hanlm.publish.seal"])
def test_after_ctrl_c_around_the_summary_the_same_command_writes_report_and_summary(
    make_run: Callable[..., Path], interrupt: Callable[..., str], moment: str
):
    run = make_run()
    interrupt(moment, "report", run)
    assert not (run / "report").exists()
    report(ReportConfig(run=run))  # not refused: nothing was finished
    open_artifact(run / "report", "report")
    assert (run / "summary.json").is_file()
