"""``hanlm bench`` from rows to a report: accuracy, groups, paired differences, and what guessing would reach."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.bench import BenchConfig, bench, plan
from eval.bench_figures import ChoiceScores, compare_choices, describe_balance
from eval.bench_page import balance_note, group_note
from eval.candidates import Candidate
from eval.choice_tasks import ChoiceRow
from eval.statistics import Resampling
from hanlm.artifact import open_artifact
from hanlm.chat import ALPACA_ZH, attach_template
from hanlm.errors import InputError


def rows(num_rows: int = 40) -> list[ChoiceRow]:
    return [
        ChoiceRow(
            prompt=f"第{i}条评论。\n",
            messages=[{"role": "user", "content": f"第{i}条评论。"}],
            choices=["好评。", "差评。"],
            label=i % 2,
            group=f"template {i // 2 % 2}",
        )
        for i in range(num_rows)
    ]


def candidate(name: str) -> Candidate:
    return Candidate(
        name=name, path=Path(name), base=None, tokenizer_path=Path(name), tokenizer_hash="0", max_length=None
    )


def scored(right: list[bool]) -> ChoiceScores:
    """Scores that make each row right or wrong as told."""
    return ChoiceScores(
        log_likelihoods=[np.array([-1.0, -2.0] if (i % 2 == 0) == ok else [-2.0, -1.0]) for i, ok in enumerate(right)],
        chat=False,
        num_cut=0,
    )


def test_accuracy_differences_and_groups_are_counted_from_the_rows():
    before = scored([True] * 20 + [False] * 20)
    after = scored([True] * 30 + [False] * 10)
    figures = compare_choices(
        rows(), [candidate("before"), candidate("after")], [before, after], Resampling(num_resamples=200, seed=0)
    )
    first, second = figures["models"]
    assert (first["accuracy"], second["accuracy"]) == (0.5, 0.75)
    assert second["balanced_accuracy"] == 0.75
    assert second["by_group"]["template 0"]["num_rows"] == 20
    (difference,) = figures["differences"]
    assert (difference["a"], difference["b"], difference["accuracy"]) == ("before", "after", 0.25)
    assert 0 < difference["ci95"][0] < 0.25 < difference["ci95"][1]


def test_rows_with_one_frequent_answer_are_called_unbalanced():
    balanced = describe_balance(rows())
    assert balanced == {"chance": 0.5, "same_position": 0.5, "same_answer": 0.5}
    assert balance_note({"guessing": balanced}) == ""
    skewed = describe_balance([row for row in rows() if row.label == 0])
    assert "always giving the same answer reaches 1.000" in balance_note({"guessing": skewed})


def write_task(path: Path, task: list[ChoiceRow]) -> Path:
    lines = [
        {"prompt": r.prompt, "messages": r.messages, "choices": r.choices, "label": r.label, "group": r.group}
        for r in task
    ]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def test_bench_writes_a_report_on_plain_and_chat_models(tiny_model_folder: Path, tmp_path: Path):
    chat = tmp_path / "chat"
    shutil.copytree(tiny_model_folder, chat)
    attach_template(chat, ALPACA_ZH)
    task = write_task(tmp_path / "choices.jsonl", rows(12))
    config = BenchConfig(
        model=[f"before={tiny_model_folder}", f"after={chat}"],
        task=[task],
        out=tmp_path / "bench",
        num_resamples=50,
        precision="fp32",
    )
    assert any("on 12 rows" in line for line in plan(config))
    report = json.loads((bench(config) / "report.json").read_text(encoding="utf-8"))
    assert (report["task"], report["num_rows"]) == ("choices", 12)
    assert [model["form"] for model in report["models"]] == ["plain", "chat"]
    for model in report["models"]:
        assert {"name", "path", "accuracy", "ci95", "by_group"} <= model.keys()
    written = [json.loads(line) for line in (config.out / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    right = [np.argmax(row["log_likelihoods"]["after"]) == row["label"] for row in written]
    assert report["models"][1]["accuracy"] == pytest.approx(np.mean(right))
    assert set(open_artifact(config.out, "report").manifest["files"]) == {"report.json", "report.html", "rows.jsonl"}


def test_too_many_malformed_rows_fail(tiny_model_folder: Path, tmp_path: Path):
    task = write_task(tmp_path / "choices.jsonl", rows(4))
    task.write_text(task.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    config: dict[str, Any] = {"model": [str(tiny_model_folder)], "task": [task], "out": tmp_path / "out"}
    with pytest.raises(InputError, match="got 1 of 5"):
        bench(BenchConfig(**config))
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(3)
def test_ctrl_c_while_scoring_writes_nothing(tiny_model_folder: Path, tmp_path: Path, interrupt: Callable[..., str]):
    task = write_task(tmp_path / "choices.jsonl", rows(4))
    interrupt(
        "eval.scoring.score_spans", "bench", "--model", tiny_model_folder, "--task", task, "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()


def group(accuracy: float, low: float, high: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "num_rows": 60, "ci95": [low, high]}


def test_uneven_groups_and_intervals_with_chance_are_named():
    groups = {"a": group(0.52, 0.4, 0.64), "b": group(0.8, 0.7, 0.9), "c": group(0.63, 0.5, 0.75)}
    note = group_note({"name": "after", "by_group": groups}, 0.5)
    assert note == "after: from 0.52 (a) to 0.80 (b); the intervals of a, c include chance, 0.50."
    assert "no interval includes" in group_note({"name": "after", "by_group": groups}, 0.1)
    unsure = {name: group(0.5, 0.4, 0.6) for name in "ab"}
    assert "all 2 intervals include chance" in group_note({"name": "x", "by_group": unsure}, 0.5)
    assert group_note({"name": "x", "by_group": {"a": groups["a"]}}, 0.5) == ""
