"""JSON objects of a tokenizer or model folder, read and written."""

import json
from pathlib import Path
from typing import Any

import orjson

from hanlm.errors import InputError


def read_json(folder: Path | None, name: str) -> dict[str, Any]:
    """Return the object in a file of a folder; empty where there is no such file."""
    if folder is None:
        return {}
    path = folder / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); restore it from its source.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} should hold a JSON object; restore it from its source.")
    return value  # pyright: ignore[reportUnknownVariableType]


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object, indented; a vocabulary takes a tenth of the time that the standard library needs."""
    try:
        path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except TypeError:  # transformers' "no limit" for a text's length, 10 ** 30, does not fit 64 bits
        path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
