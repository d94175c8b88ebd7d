"""``hanlm report``: the figures of a run gathered, judged, and told; a part that is missing is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.bench_figures import ChoiceScores, compare_choices, describe_balance
from eval.candidates import Candidate
from eval.choice_tasks import ChoiceRow
from eval.document_scores import DocumentScores
from eval.ppl_figures import compare
from eval.report import ReportConfig, plan, report
from eval.run_facts import Roles, gather
from eval.statistics import Resampling
from hanlm.artifact import open_artifact, publish
from hanlm.errors import ArtifactError, InputError
from hanlm.records import Document

RESAMPLING = Resampling(num_resamples=100, seed=0)
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
# Nats per byte and tokens per character of the four models on Chinese, then on English.
FIGURES = {
    "base": (3.6, 3.0, 1.2, 0.3),
    "extended": (3.4, 0.8, 1.2, 0.3),
    "pretrained": (1.5, 0.8, 1.25, 0.3),
    "control": (1.9, 3.0, 1.3, 0.3),
}
SUMMARY_KEYS = {
    "tokens_per_char": {"base", "extended"},
    "zh_bits_per_byte": {"base", "extended", "pretrained", "control"},
    "en_bits_per_byte": {"base", "pretrained"},
    "task_accuracy": {"before", "after"},
    "seconds": {"extended", "pretrained", "control", "ppl", "bench", "chat"},
    "peak_rss_bytes": {"extended", "pretrained", "control", "ppl", "bench", "chat"},
    "artifacts": {"extended", "pretrained", "control", "ppl", "bench", "chat", "report"},
}


def candidate(name: str, folder: Path) -> Candidate:
    return Candidate(name=name, path=folder, base=None, tokenizer_path=folder, tokenizer_hash=name, max_length=None)


def ppl_report(folder: Path) -> dict[str, Any]:
    documents = [Document(str(i), "好" * (i + 5), "reviews" if i % 2 else "news", "zh", "", "") for i in range(20)]
    documents += [Document(f"e{i}", "word " * (i + 5), "docs", "en", "", "") for i in range(20)]
    scores: list[DocumentScores] = []
    rng = np.random.default_rng(0)
    noise = 1 + 0.02 * rng.standard_normal(40)
    for zh, zh_tokens, en, en_tokens in FIGURES.values():
        rates = [(zh, zh_tokens) if d.lang == "zh" else (en, en_tokens) for d in documents]
        scores.append(
            DocumentScores(
                nats=np.array([len(d.text.encode()) * r for d, (r, _) in zip(documents, rates, strict=True)]) * noise,
                num_tokens=np.array([round(len(d.text) * t) for d, (_, t) in zip(documents, rates, strict=True)]),
                num_unknown_tokens=0,
                num_changed_documents=0,
                documents_hash="0",
            )
        )
    return compare([candidate(name, folder) for name in FIGURES], scores, documents, RESAMPLING)


def bench_report() -> dict[str, Any]:
    rows = [
        ChoiceRow(prompt="?", messages=None, choices=["好", "坏"], label=i % 2, group=f"t{i // 2 % 2}")
        for i in range(40)
    ]

    def scores(num_right: int) -> ChoiceScores:
        right = [i < num_right for i in range(40)]
        return ChoiceScores(
            log_likelihoods=[np.array([-1.0, -2.0][:: 1 if (i % 2 == 0) == ok else -1]) for i, ok in enumerate(right)],
            chat=False,
            num_cut=0,
        )

    models = [candidate(name, Path(name)) for name in ("before", "after")]
    figures = compare_choices(rows, models, [scores(20), scores(32)], RESAMPLING)
    return {"task": "choices", "num_rows": 40, "guessing": describe_balance(rows), **figures}


def vocab_report() -> dict[str, Any]:
    return {
        "num_base_tokens": 8000,
        "num_new_tokens": 3000,
        "tokens_per_char": {"reviews": {"base": 3.0, "extended": 0.8}},
        "size_curve": [{"num_new_tokens": n, "tokens_per_char": {"reviews": 3 - n / 1500}} for n in (1000, 2000, 3000)],
    }


def curve(start: float) -> str:
    lines = [{"step": 1, "loss": 3.0}]
    lines += [
        {"step": i, "elapsed_seconds": i * 10.0, "valid/zh": start - i, "valid/en": 1.8, "valid/zh/news": 1.0}
        for i in range(3)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def make_run(tmp_path: Path, tiny_tokenizer_folder: Path) -> Callable[..., Path]:
    """Build the folder of a finished run, with the stages named left out."""

    def make(*, without: frozenset[str] = frozenset()) -> Path:
        run = tmp_path / "run"
        message = "<script>alert(1)</script>你好"
        chat = {"messages": [{"role": "user", "content": message}, {"role": "assistant", "content": "好"}]}
        files = {
            "extended": ("model", "vocab_report.json", json.dumps(vocab_report())),
            "pretrained": ("model", "metrics.jsonl", curve(5.0)),
            "control": ("model", "metrics.jsonl", curve(5.5)),
            "ppl": ("report", "report.json", json.dumps(ppl_report(tiny_tokenizer_folder))),
            "bench": ("report", "report.json", json.dumps(bench_report())),
            "chat": ("report", "chat.json", json.dumps(chat | {"conversations": [chat]})),
        }
        stages: dict[str, Any] = {"report": {"status": "started", "made_from": {}, "seconds": 0, "peak_rss_bytes": 0}}
        for name, (kind, file, content) in files.items():
            if name in without:
                continue
            with publish(run / name, kind=kind, config={}) as draft:
                (draft.folder / file).write_text(content, encoding="utf-8")
            stages[name] = {
                "status": "done",
                "made_from": {"command": name},
                "seconds": 12.5,
                "peak_rss_bytes": 2**30,
                "out": str(run / name),
            }
        (run / "run.json").write_text(json.dumps({"recipe": "demo", "stages": stages}), encoding="utf-8")
        return run

    return make


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
    assert [model["name"] for model in written["models"]] == list(FIGURES)
    assert {"differences", "tokens_per_char", "zh_bits_per_byte", "task", "chat", "stages"} <= written.keys()
    assert [verdict["passed"] for verdict in written["verdicts"]] == [True] * 5
    assert written["missing"] == []


def test_a_claim_that_fails_is_said_to_fail(make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(FIGURES, "pretrained", (2.0, 0.8, 1.5, 0.3))
    written = json.loads((report(ReportConfig(run=make_run())) / "report.json").read_text(encoding="utf-8"))
    assert [verdict["passed"] for verdict in written["verdicts"]] == [True, False, True, False, True]


@pytest.mark.fault(25)
def test_page_tells_the_story_and_escapes_what_the_model_said(make_run: Callable[..., Path]):
    page = (report(ReportConfig(run=make_run())) / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;你好" in page
    for heading in ("The vocabulary", "Bits per byte", "Training", "A task", "A conversation", "Time and memory"):
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


@pytest.mark.fault(6)
def test_a_report_changed_by_hand_is_refused(make_run: Callable[..., Path]):
    run = make_run()
    path = run / "ppl" / "report.json"
    path.write_text(path.read_text(encoding="utf-8").replace("overall", "Overall"), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"ppl/report\.json fails its checksum"):
        report(ReportConfig(run=run))
    assert not (run / "summary.json").exists()
