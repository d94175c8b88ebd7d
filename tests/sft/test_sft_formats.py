"""Instruction formats: recognised by their fields, malformed rows set aside with the reason."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hanlm.quarantine import Quarantine
from sft.formats import read_rows, to_messages


def read(path: Path) -> tuple[list[list[dict[str, str]]], Quarantine, Counter[str]]:
    """Return all messages with the counts."""
    quarantine, dropped = Quarantine(), Counter[str]()
    rows = [row.messages for row in read_rows([path], quarantine, dropped)]
    return rows, quarantine, dropped


def test_an_alpaca_row_becomes_a_question_and_an_answer():
    messages, key = to_messages({"instruction": "翻译", "input": "你好", "output": "hello"})
    assert messages == [{"role": "user", "content": "翻译\n你好"}, {"role": "assistant", "content": "hello"}]
    assert key == "你好"


def test_an_alpaca_row_keeps_its_system_message_and_history():
    row = {"instruction": "三", "output": "四", "system": "简短", "history": [["一", "二"]]}
    assert [(m["role"], m["content"]) for m in to_messages(row)[0]] == [
        ("system", "简短"),
        ("user", "一"),
        ("assistant", "二"),
        ("user", "三"),
        ("assistant", "四"),
    ]


@pytest.mark.parametrize(
    "turns",
    [
        [("from", "human", "value"), ("from", "gpt", "value")],
        [("from", "user", "value"), ("from", "chatgpt", "value")],
        [("role", "user", "content"), ("role", "assistant", "content")],
    ],
)
def test_a_sharegpt_row_keeps_all_its_turns_whatever_it_calls_the_speakers(turns: list[tuple[str, str, str]]):
    said = ["一", "二", "三", "四"]
    conversations = [{who: name, what: text} for (who, name, what), text in zip(turns * 2, said, strict=True)]
    messages, key = to_messages({"id": "x_0", "conversations": conversations})
    assert [m["content"] for m in messages] == said
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2
    assert key == "一"


def test_a_sharegpt_row_keeps_its_system_message_as_a_turn_or_beside_the_turns():
    turns = [{"from": "human", "value": "一"}, {"from": "gpt", "value": "二"}]
    as_turn, _ = to_messages({"conversations": [{"from": "system", "value": "简短"}, *turns]})
    beside, _ = to_messages({"conversations": turns, "system": "简短"})
    assert as_turn == beside
    assert as_turn[0] == {"role": "system", "content": "简短"}


@pytest.mark.fault(13)
def test_a_line_that_is_not_utf8_is_set_aside_and_its_neighbours_are_kept(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    good = '{"instruction": "你好", "output": "好"}\n'.encode()
    path.write_bytes(good + b'{"instruction": "\xff", "output": "x"}\n' + good)
    rows, quarantine, _ = read(path)
    assert len(rows) == 2
    assert quarantine.counts == {"invalid_utf8": 1}
    assert quarantine.num_seen == 3


BAD_ROWS: list[tuple[str, str]] = [
    ("{not json", "malformed_json"),
    ("[1]", "not_an_object"),
    ('{"text": "no instruction"}', "unknown_format"),
    ('{"instruction": "x", "output": null}', "null_field"),
    ('{"instruction": 3, "output": "x"}', "wrong_type"),
    ('{"instruction": "x", "input": ["y"], "output": "x"}', "wrong_type"),
    ('{"instruction": " ", "output": "x"}', "blank_instruction"),
    ('{"instruction": "x", "output": "y", "history": [["a"]]}', "broken_history"),
    ('{"messages": "hello"}', "broken_conversation"),
    ('{"messages": null}', "broken_conversation"),
    ('{"messages": []}', "broken_conversation"),
    ('{"messages": [{"role": "user", "content": "x"}]}', "broken_conversation"),
    ('{"messages": [{"role": "robot", "content": "x"}, {"role": "assistant", "content": "y"}]}', "broken_conversation"),
    ('{"messages": [{"role": "assistant", "content": "y"}]}', "broken_conversation"),
    ('{"conversations": "hello"}', "broken_conversation"),
    ('{"conversations": []}', "broken_conversation"),
    ('{"conversations": ["x", "y"]}', "broken_conversation"),
    ('{"conversations": [{"from": "gpt", "value": "y"}, {"from": "gpt", "value": "y"}]}', "broken_conversation"),
    ('{"conversations": [{"from": "human", "value": "x"}, {"from": "bot", "value": "y"}]}', "broken_conversation"),
    ('{"conversations": [{"from": "human", "value": 1}, {"from": "gpt", "value": "y"}]}', "broken_conversation"),
    ('{"conversations": [{"from": ["human"], "value": "x"}, {"from": "gpt", "value": "y"}]}', "broken_conversation"),
    ('{"messages": [{"role": "user", "content": 1}, {"role": "assistant", "content": "y"}]}', "broken_conversation"),
]


@pytest.mark.fault(14)
@pytest.mark.parametrize(("line", "reason"), BAD_ROWS)
def test_a_malformed_row_is_set_aside_with_its_reason_and_its_neighbours_are_kept(
    tmp_path: Path, line: str, reason: str
):
    path = tmp_path / "rows.jsonl"
    good = '{"instruction": "你好", "output": "好"}\n'
    path.write_text(good + line + "\n" + good, encoding="utf-8")
    rows, quarantine, _ = read(path)
    assert len(rows) == 2
    assert quarantine.counts == {reason: 1}


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "x", "output": " \n"},
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]},
        {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": " "}]},
    ],
)
def test_a_row_whose_answers_are_all_blank_is_dropped_and_counted_not_quarantined(
    tmp_path: Path, row: dict[str, Any], rows_writer: Any
):
    rows, quarantine, dropped = read(rows_writer(tmp_path / "rows.jsonl", [row]))
    assert rows == []
    assert dropped == {"no_target": 1}
    assert not quarantine.counts


def test_a_json_list_is_read_like_lines(tmp_path: Path):
    path = tmp_path / "rows.json"
    path.write_text('[{"instruction": "一", "output": "二"}, 7]', encoding="utf-8")
    rows, quarantine, _ = read(path)
    assert len(rows) == 1
    assert quarantine.counts == {"not_an_object": 1}
