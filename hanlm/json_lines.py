"""JSON lines, read strictly: a bad line goes to the quarantine with its reason, its neighbours are kept."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, Final, cast

import orjson

from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.streams import MAX_LINE_BYTES, iter_lines, open_stream

MAX_LIST_BYTES: Final = 8 * MAX_LINE_BYTES
"""A ``.json`` list is parsed as a whole; a larger one has to be converted to lines."""

_MAX_NAMED: Final = 12
_WHOLE_SUFFIXES = (".json", ".json.gz", ".json.zst")


def read_json_lines(
    path: Path, quarantine: Quarantine, required: Sequence[str] = ("text",)
) -> Iterator[dict[str, Any]]:
    """Yield the objects of a ``.jsonl`` file (also ``.gz``, ``.zst``), or those of a ``.json`` file.

    A ``.json`` file may hold a list of objects, one object, or lines.

    A record whose ``required`` field is missing or null is quarantined. Blank lines are passed over.

    Raises:
        InputError: If the file cannot be read to its end.
    """
    for _, record in numbered_json_lines(path, quarantine, required):
        yield record


def numbered_json_lines(
    path: Path, quarantine: Quarantine, required: Sequence[str] = ("text",)
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) as ``read_json_lines`` does."""
    if path.name.lower().endswith(_WHOLE_SUFFIXES) and not _holds_lines(path):
        yield from _json_whole(path, quarantine, required)
        return
    with open_stream(path) as stream:
        for number, line, complete in iter_lines(stream):
            if not line.strip():
                continue
            quarantine.num_seen += 1
            record = _parse(line) if complete else "too_long"
            if isinstance(record, dict):
                record = _with_fields(record, required, quarantine, f"{path} line {number}")
            if isinstance(record, str):
                quarantine.add(record, path, number, line)
            else:
                yield number, record


def _parse(line: bytes) -> dict[str, Any] | str:
    """Return the object a line spells, or the reason why it spells none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _why_malformed(line)
    return cast(dict[str, Any], value) if isinstance(value, dict) else "not_an_object"


def _why_malformed(line: bytes) -> str:
    try:
        value = json.loads(line.decode("utf-8"))
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        return "invalid_utf8"
    except UnicodeEncodeError:
        return "lone_surrogate"
    except (ValueError, RecursionError):
        return "malformed_json"
    return "malformed_json"  # the standard library also takes NaN and the like, which JSON does not have


def _with_fields(
    record: dict[str, Any], required: Sequence[str], quarantine: Quarantine, where: str
) -> dict[str, Any] | str:
    for name in required:
        if name not in record:
            has = ", ".join(shorten(field, 40) for field in list(record)[:_MAX_NAMED]) or "none"
            quarantine.lacking = quarantine.lacking or (
                f"expected a field {name!r} in every record, but {where} has the fields {has}"
            )
            return "missing_field"
        if record[name] is None:
            return "null_field"
    return record


def _holds_lines(path: Path) -> bool:
    with open_stream(path) as stream:
        first = next((line for _, line, _ in iter_lines(stream) if line.strip()), b"")
    return isinstance(_parse(first), dict)


def _json_whole(path: Path, quarantine: Quarantine, required: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_stream(path) as stream:
        raw = stream.read(MAX_LIST_BYTES + 1)
    if len(raw) > MAX_LIST_BYTES:
        size = f"{MAX_LIST_BYTES // 2**20} MiB"
        raise InputError(f"{path} is one JSON value of over {size}; convert it to one object a line (.jsonl).")
    try:
        values = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}); mend it or convert it to .jsonl.") from error
    for number, value in enumerate(values if isinstance(values, list) else [values], 1):
        quarantine.num_seen += 1
        record = "not_an_object"
        if isinstance(value, dict):
            record = _with_fields(cast(dict[str, Any], value), required, quarantine, f"{path} record {number}")
        if isinstance(record, str):
            quarantine.add(record, path, number, orjson.dumps(value))
        else:
            yield number, record
