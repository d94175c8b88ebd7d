"""The demo's hand-written Chinese: instruction pairs and the templates of its labelled task."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from hanlm.text import han_ratio, normalise

DEMO = Path(__file__).parents[2] / "recipes" / "demo"
LABELS = {"positive", "negative"}
SENTENCE_ENDS = "。！？”》"
REVIEW = "房间很干净，{服务}也好。"  # braces in a review must not be taken for a placeholder


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    lines = (DEMO / "instructions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def templates() -> list[dict[str, Any]]:
    return yaml.safe_load((DEMO / "sentiment_templates.yaml").read_text(encoding="utf-8"))["templates"]


def test_every_row_is_an_alpaca_record_of_three_strings(rows: list[dict[str, str]]):
    for row in rows:
        assert list(row) == ["instruction", "input", "output"]
        assert all(isinstance(value, str) for value in row.values())
        assert row["instruction"]
        assert row["output"]


def test_there_are_enough_rows_and_enough_of_them_have_an_input(rows: list[dict[str, str]]):
    assert len(rows) >= 260
    assert sum(bool(row["input"]) for row in rows) >= 50


def test_no_instruction_with_its_input_appears_twice(rows: list[dict[str, str]]):
    times = Counter((row["instruction"], row["input"]) for row in rows)
    assert [key for key, count in times.items() if count > 1] == []


def test_answers_are_shared_only_by_a_few_paraphrases(rows: list[dict[str, str]]):
    times = Counter(row["output"] for row in rows)
    assert max(times.values()) <= 5
    assert len(times) >= 0.9 * len(rows)


def test_the_text_is_normalised_and_mostly_han(rows: list[dict[str, str]]):
    for row in rows:
        assert all(value == normalise(value).strip() for value in row.values()), row
        assert han_ratio("".join(row.values())) >= 0.55, row
        assert han_ratio(row["output"]) >= 0.5, row


def test_ascii_is_left_to_the_name_alone(rows: list[dict[str, str]]):
    for row in rows:
        text = "".join(row.values()).replace(" HanLM ", "")
        assert not any(char.isascii() for char in text), row


def test_every_answer_is_a_complete_sentence_of_bounded_length(rows: list[dict[str, str]]):
    for row in rows:
        assert row["output"][-1] in SENTENCE_ENDS, row
        assert 5 <= len(row["output"]) <= 80, row
        assert len(row["instruction"]) <= 40, row
        assert len(row["input"]) <= 60, row
    assert sum(len(row["output"]) >= 10 for row in rows) >= 0.8 * len(rows)


def test_quotation_marks_and_brackets_are_paired(rows: list[dict[str, str]]):
    for value in (value for row in rows for value in row.values()):
        assert all(value.count(left) == value.count(right) for left, right in ("“”", "《》", "（）")), value


def test_there_are_enough_templates_with_unique_names_and_wordings(templates: list[dict[str, Any]]):
    assert len(templates) >= 6
    for key in ("name", "instruction"):
        assert len({template[key] for template in templates}) == len(templates)


def test_every_template_takes_the_review_once_and_in_its_input(templates: list[dict[str, Any]]):
    for template in templates:
        assert set(template) == {"name", "instruction", "input", "labels"}
        assert template["input"].count("{text}") == 1
        assert "{" not in template["instruction"]
        assert template["input"].format(text=REVIEW).endswith(REVIEW)


def test_the_two_answers_of_a_template_differ_and_are_equally_long(templates: list[dict[str, Any]]):
    for template in templates:
        assert set(template["labels"]) == LABELS
        positive, negative = template["labels"]["positive"], template["labels"]["negative"]
        assert positive != negative, template["name"]
        assert len(positive) == len(negative), template["name"]
        assert all(answer[-1] in SENTENCE_ENDS for answer in (positive, negative)), template["name"]


def test_no_answer_means_two_labels_in_different_templates(templates: list[dict[str, Any]]):
    answers = {label: {template["labels"][label] for template in templates} for label in LABELS}
    assert answers["positive"].isdisjoint(answers["negative"])
