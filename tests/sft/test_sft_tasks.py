"""Tasks: labelled text through templates, asked at the test in the very words of the training."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from hanlm.artifact import open_artifact
from hanlm.errors import ConfigError, InputError
from sft.formats import to_messages
from sft.tasks import TasksConfig, plan, tasks
from sft.templates import read_templates

TEMPLATES = """
templates:
  - name: good_or_bad
    instruction: "好评还是差评？"
    input: "{text}"
    labels: {positive: "好评。", negative: "差评。"}
  - name: liked
    instruction: "喜欢吗？"
    input: "评论：{text}"
    labels: {positive: "喜欢。", negative: "讨厌。"}
"""


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    path = tmp_path / "templates.yaml"
    path.write_text(TEMPLATES, encoding="utf-8")
    return path


def labelled(path: Path, texts: dict[str, list[str]]) -> Path:
    rows = [{"text": text, "label": label} for label, of_label in texts.items() for text in of_label]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]


def test_rows_are_balanced_and_every_template_asks(templates: Path, tmp_path: Path):
    train = labelled(tmp_path / "t.jsonl", {"positive": numbered("好", 30), "negative": numbered("差", 10)})
    held = labelled(tmp_path / "h.jsonl", {"positive": numbered("甲", 8), "negative": numbered("乙", 9)})
    out = tasks(TasksConfig(templates=templates, train=(train,), heldout=(held,), out=tmp_path / "out"))
    rows = read(out / "instructions.jsonl")
    assert len(rows) == 20
    positive = {"好评。", "喜欢。"}
    assert sum(row["output"] in positive for row in rows) == 10
    choices = read(out / "choices.jsonl")
    assert Counter((c["label"], c["group"]) for c in choices) == Counter(
        {(0, "good_or_bad"): 4, (0, "liked"): 4, (1, "good_or_bad"): 4, (1, "liked"): 4}
    )
    counts = open_artifact(out, "dataset").manifest["counts"]
    assert counts["train_texts"] == 20
    assert counts["heldout_texts"] == 16


def test_a_choice_is_asked_in_the_words_of_a_training_row(templates: Path):
    for template in read_templates(templates):
        row = template.instruction_row("{不错} ", "negative")
        choice = template.choice_row("{不错} ", "negative")
        messages, _ = to_messages(row)
        assert messages[:-1] == choice["messages"]
        assert messages[0]["content"] == choice["prompt"]
        assert "{不错}" in choice["prompt"]
        assert choice["choices"][choice["label"]] == messages[-1]["content"]


def test_all_templates_ask_each_text_when_told_to(templates: Path, tmp_path: Path):
    train = labelled(tmp_path / "t.jsonl", {"positive": numbered("好", 5), "negative": numbered("差", 5)})
    config = TasksConfig(templates=templates, train=(train,), out=tmp_path / "out", templates_per_row=2, max_rows=6)
    rows = read(tasks(config) / "instructions.jsonl")
    assert len(rows) == 12
    assert Counter(row["group"] for row in rows) == {"good_or_bad": 6, "liked": 6}
    assert not (tmp_path / "out" / "choices.jsonl").exists()


def test_a_held_out_text_that_is_also_trained_on_is_left_out(templates: Path, tmp_path: Path):
    train = labelled(tmp_path / "t.jsonl", {"positive": ["好", "妙"], "negative": ["差", "坏"]})
    held = labelled(tmp_path / "h.jsonl", {"positive": ["好 ", "新"], "negative": ["差", "旧"]})
    out = tasks(TasksConfig(templates=templates, train=(train,), heldout=(held,), out=tmp_path / "out"))
    asked = "\n".join(row["prompt"] for row in read(out / "choices.jsonl"))
    assert "新" in asked
    assert "旧" in asked
    assert len(read(out / "choices.jsonl")) == 2
    assert open_artifact(out, "dataset").manifest["counts"]["dropped"] == {"seen_in_train": 2}


def test_the_seed_decides_everything(templates: Path, tmp_path: Path):
    train = labelled(tmp_path / "t.jsonl", {"positive": numbered("好", 30), "negative": numbered("差", 30)})
    made = [
        (tasks(TasksConfig(templates=templates, train=(train,), out=tmp_path / f"o{i}", seed=seed, max_rows=20)))
        for i, seed in enumerate((1, 1, 2))
    ]
    texts = [(out / "instructions.jsonl").read_text(encoding="utf-8") for out in made]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.fault(13)
@pytest.mark.fault(14)
def test_rows_without_a_known_label_are_set_aside_and_too_many_fail(templates: Path, tmp_path: Path):
    path = labelled(tmp_path / "t.jsonl", {"positive": ["好"], "negative": ["差"], "neutral": ["中"]})
    with path.open("ab") as file:
        file.write(b'{"text": "\xff", "label": "positive"}\n{"text": " ", "label": "positive"}\n{"label": "x"}\n')
    config = TasksConfig(templates=templates, train=(path,), out=tmp_path / "out", max_quarantined=0.9)
    counts = open_artifact(tasks(config), "dataset").manifest["counts"]
    assert counts["quarantined"] == {"unknown_label": 1, "invalid_utf8": 1, "blank_text": 1, "missing_field": 1}
    assert len(read(tmp_path / "out" / "quarantine.jsonl")) == 4
    strict = TasksConfig(templates=templates, train=(path,), out=tmp_path / "strict")
    with pytest.raises(InputError, match="unknown_label: 1"):
        tasks(strict)
    assert not strict.out.exists()
    assert len(read(tmp_path / "strict.work" / "quarantine.jsonl")) == 4
    labelled(path, {"positive": ["好"], "negative": ["差"]})
    assert not (tasks(strict) / "quarantine.jsonl").exists()


@pytest.mark.parametrize("missing", ["templates", "train", "heldout"])
def test_a_missing_file_is_named_before_anything_is_written(templates: Path, tmp_path: Path, missing: str):
    train = labelled(tmp_path / "t.jsonl", {"positive": ["好"], "negative": ["差"]})
    paths: dict[str, Any] = {"templates": templates, "train": (train,), "heldout": (train,)}
    nowhere = tmp_path / "nowhere"
    paths[missing] = nowhere if missing == "templates" else (nowhere,)
    with pytest.raises(InputError, match="nowhere"):
        tasks(TasksConfig(out=tmp_path / "out", **paths))
    assert not (tmp_path / "out.work").exists()


@pytest.mark.fault(4)
def test_a_full_disk_publishes_no_tasks(
    templates: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    full_disk: Callable[[int], AbstractContextManager[None]],
):
    from hanlm.cli import main

    train = labelled(tmp_path / "t.jsonl", {"positive": numbered("好", 500), "negative": numbered("差", 500)})
    words = ["tasks", "--templates", templates, "--train", train, "--out", tmp_path / "out"]
    with full_disk(10_000), pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 2
    assert "no space left" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_line_for_the_user_tells_what_became_of_every_text(
    templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    train = labelled(
        tmp_path / "t.jsonl", {"positive": [*numbered("好", 4), "好" * 20], "negative": ["差", "坏", "坏"]}
    )
    held = labelled(tmp_path / "h.jsonl", {"positive": ["好1", "新"], "negative": ["旧"], "neutral": ["中"]})
    config = TasksConfig(
        templates=templates,
        train=(train,),
        heldout=(held,),
        out=tmp_path / "out",
        max_chars=10,
        max_quarantined=0.5,
    )
    counts = open_artifact(tasks(config), "dataset").manifest["counts"]
    assert capsys.readouterr().err.splitlines()[-1] == (
        "texts: 12 in, 4 (negative: 2, positive: 2) kept for train, 2 (negative: 1, positive: 1) kept for heldout, "
        "5 (beyond_balance: 2, duplicate: 1, seen_in_train: 1, too_long: 1) dropped, 1 (unknown_label: 1) quarantined"
    )
    lost = sum(counts["dropped"].values()) + sum(counts["quarantined"].values())
    assert counts["train_texts"] + counts["heldout_texts"] + lost == counts["texts_in"]


def test_a_label_without_texts_is_an_error(templates: Path, tmp_path: Path):
    train = labelled(tmp_path / "t.jsonl", {"positive": ["好"]})
    with pytest.raises(InputError, match="none of negative"):
        tasks(TasksConfig(templates=templates, train=(train,), out=tmp_path / "out"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{text}", "文本", "nowhere holds"),
        ("liked", "good_or_bad", "name of its own"),
        ('positive: "喜欢。"', 'good: "喜欢。"', "same labels"),
        ("差评。", "好评。", "same answer"),
        ("instruction:", "instructions:", "did you mean 'instruction'"),
        ("templates:", "template:", "list named templates"),
    ],
)
def test_a_broken_template_file_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, words: str):
    path = tmp_path / "broken.yaml"
    path.write_text(TEMPLATES.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        read_templates(path)


def test_the_plan_says_what_would_be_written(templates: Path, tmp_path: Path):
    train = labelled(tmp_path / "t.jsonl", {"positive": ["好"], "negative": ["差"]})
    lines = plan(TasksConfig(templates=templates, train=(train,), out=tmp_path / "out"))
    assert any("instructions.jsonl" in line for line in lines)
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(3)
def test_ctrl_c_publishes_no_tasks(templates: Path, tmp_path: Path, interrupt: Callable[..., str]):
    train = labelled(tmp_path / "t.jsonl", {"positive": numbered("好", 5), "negative": numbered("差", 5)})
    words = ["tasks", "--templates", templates, "--train", train, "--out", tmp_path / "out"]
    interrupt("sft.tasks._instructions", *words)
    assert not (tmp_path / "out").exists()
