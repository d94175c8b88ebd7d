"""Instruction formats: rows of files, each recognised by its fields, turned into checked messages.

- Alpaca: ``instruction``, ``input`` (may be absent or blank), ``output``; optionally ``system`` and ``history``
  (pairs of earlier question and answer).
- Messages: ``messages``, a list of ``{role, content}`` with user and assistant in turn, after at most one
  system message.
- ShareGPT: ``conversations``, a list of ``{from, value}`` by ``human`` and ``gpt`` in turn (or ``user`` and
  ``assistant``), after at most one by ``system``; optionally ``system`` beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from hanlm.chat import Message, check_messages, user_text
from hanlm.errors import InputError
from hanlm.json_lines import numbered_json_lines
from hanlm.quarantine import Quarantine
from hanlm.records import list_files

KNOWN_FORMATS: Final = (
    "instruction and output (Alpaca), messages of {role, content}, conversations of {from, value} (ShareGPT)"
)
"""What a row may hold, for users whose rows hold something else."""

_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant"}

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".json.zst")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One conversation to learn from."""

    messages: list[Message]
    source: int
    """Index of the data path it came from."""
    split_key: str
    """What decides its split: rows made of one text through several templates share it."""
    path: Path
    line: int


class _NoTargetError(Exception):
    """A well-formed row with nothing to learn: every answer is blank."""


def read_rows(paths: Sequence[Path], quarantine: Quarantine, dropped: Counter[str]) -> Iterator[Row]:
    """Yield the rows of all files; malformed ones go to the quarantine, those without an answer are counted.

    Args:
        paths: Files or folders; a row's ``source`` is the index in this list.
        quarantine: Takes rows of an unknown format, with fields of a wrong type, or with broken turns.
        dropped: Gets the count of rows that hold ``no_target``.
    """
    for source, path in enumerate(paths):
        for file in list_files([path], suffixes=SUFFIXES):
            for number, record in numbered_json_lines(file, quarantine, required=()):
                try:
                    messages, split_key = to_messages(record)
                except InputError as error:
                    quarantine.add(str(error), file, number, _raw(record))
                except _NoTargetError:
                    dropped["no_target"] += 1
                else:
                    yield Row(messages=messages, source=source, split_key=split_key, path=file, line=number)


def to_messages(record: Mapping[str, Any]) -> tuple[list[Message], str]:
    """Return a row's messages and the text that decides its split.

    Raises:
        InputError: With the reason, short enough to be counted by.
    """
    if "messages" in record:
        return _from_messages(record["messages"])
    if "conversations" in record:
        return _from_messages([*_system(record), *_from_sharegpt(record["conversations"])])
    if "instruction" in record and "output" in record:
        return _from_alpaca(record)
    raise InputError("unknown_format")


def _from_messages(value: object) -> tuple[list[Message], str]:
    if isinstance(value, list) and value and not _has_answer(cast("list[object]", value)):
        raise _NoTargetError
    try:
        messages = check_messages(value, last="assistant")
    except InputError as error:
        raise InputError("broken_conversation") from error
    return messages, next(m["content"] for m in messages if m["role"] == "user")


def _from_sharegpt(value: object) -> list[object]:
    """Rename the fields and roles of turns; what is no turn stays as it is and is refused with the messages."""
    if not isinstance(value, list):
        raise InputError("broken_conversation")
    return [
        _turn(cast("Mapping[str, object]", t)) if isinstance(t, Mapping) else t for t in cast("list[object]", value)
    ]


def _turn(fields: Mapping[str, object]) -> dict[str, object]:
    role, content = fields.get("from", fields.get("role")), fields.get("value", fields.get("content"))
    return {"role": _SHAREGPT_ROLES.get(str(role), role), "content": content}


def _has_answer(messages: list[object]) -> bool:
    fields = [cast("Mapping[str, object]", m) for m in messages if isinstance(m, Mapping)]
    answers = [f for f in fields if f.get("role") == "assistant"]
    contents = [f.get("content") for f in answers]
    return not answers or any(not isinstance(c, str) or c.strip() for c in contents)


def _from_alpaca(record: Mapping[str, Any]) -> tuple[list[Message], str]:
    instruction, output = _text(record, "instruction"), _text(record, "output")
    input_text = _text(record, "input") if record.get("input") is not None else ""
    content = user_text(instruction, input_text)
    if not content:
        raise InputError("blank_instruction")
    if not output.strip():
        raise _NoTargetError
    messages = [*_earlier(record), {"role": "user", "content": content}, {"role": "assistant", "content": output}]
    return messages, input_text.strip() or content


def _earlier(record: Mapping[str, Any]) -> list[Message]:
    messages = _system(record)
    history = record.get("history") or []
    pairs = cast("list[object]", history) if isinstance(history, list) else [history]
    for pair in pairs:
        turns = cast("list[object]", pair) if isinstance(pair, list) else []
        if len(turns) != 2 or not all(isinstance(text, str) and text.strip() for text in turns):
            raise InputError("broken_history")
        messages += [{"role": r, "content": str(t)} for r, t in zip(("user", "assistant"), turns, strict=True)]
    return messages


def _system(record: Mapping[str, Any]) -> list[Message]:
    return [{"role": "system", "content": _text(record, "system")}] if record.get("system") else []


def _text(record: Mapping[str, Any], name: str) -> str:
    if record[name] is None:
        raise InputError("null_field")
    if not isinstance(record[name], str):
        raise InputError("wrong_type")
    return record[name]


def _raw(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
