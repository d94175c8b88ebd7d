"""JSON lines, read strictly: a bad line goes to the quarantine with its reason, its neighbours are kept."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Any, BinaryIO, Final, cast

import orjson

from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.streams import COMPRESSIONS, MAX_LINE_BYTES, iter_lines, open_stream

MAX_LIST_BYTES: Final = 8 * MAX_LINE_BYTES
"""A ``.json`` list is parsed as a whole; a larger one has to be converted to lines."""

_MAX_NAMED: Final = 12
_WHOLE_SUFFIXES = tuple(f".json{packing}" for packing in COMPRESSIONS)


def read_json_lines(
    path: Path, quarantine: Quarantine, required: Sequence[str] = ("text",)
) -> Iterator[dict[str, Any]]:
    """Yield the objects of a ``.jsonl`` file (also ``.gz``, ``.bz2``, ``.zst``), or those of a ``.json`` file.

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
    whole = path.name.lower().endswith(_WHOLE_SUFFIXES)
    with open_stream(path) as stream:
        yield from json_records(stream, path, quarantine, required, whole=whole)


def json_records(
    stream: BinaryIO,
    source: Path | str,
    quarantine: Quarantine,
    required: Sequence[str] = ("text",),
    *,
    whole: bool = False,
    first_line: int = 1,
    invalid: Callable[[], str] = lambda: "invalid_utf8",
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) out of an open stream; ``source`` names it in the quarantine and in errors.

    Args:
        whole: It may also hold one list of objects, or one object, over many lines.
        first_line: Number of the stream's first line.
        invalid: Says why a line with bad bytes is quarantined, where the stream was converted to UTF-8.
    """
    lines = iter_lines(stream, first_line=first_line)
    if whole:
        number, first = _first_line(stream)
        if first and not isinstance(_parse(first), dict):
            yield from _json_whole(first, stream, source, quarantine, required)
            return
        rest = iter_lines(stream, first_line=number + 1)
        lines = chain([(number, first[:MAX_LINE_BYTES], len(first) <= MAX_LINE_BYTES)], rest)
    for number, line, complete in lines:
        if not line.strip():
            continue
        quarantine.num_seen += 1
        record = _parse(line) if complete else "too_long"
        if isinstance(record, dict):
            record = with_fields(record, required, quarantine, f"{source} line {number}")
        if isinstance(record, str):
            quarantine.add(invalid() if record == "invalid_utf8" else record, source, number, line)
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


def with_fields(
    record: dict[str, Any], required: Sequence[str], quarantine: Quarantine, where: str
) -> dict[str, Any] | str:
    """Return the record, or the reason why it cannot be used: a required field is missing or null."""
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


def _first_line(stream: BinaryIO) -> tuple[int, bytes]:
    """Return the number and the bytes of the first line that is not blank; a list may stand on one long line."""
    number = 0
    while line := stream.readline(MAX_LIST_BYTES + 1):
        number += 1
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if line.strip():
            return number, line
    return number, b""


def _json_whole(
    begun: bytes, stream: BinaryIO, source: Path | str, quarantine: Quarantine, required: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    raw = begun + stream.read(MAX_LIST_BYTES + 1)
    if len(raw) > MAX_LIST_BYTES:
        size = f"{MAX_LIST_BYTES // 2**20} MiB"
        raise InputError(f"{source} is one JSON value of over {size}; convert it to one object a line (.jsonl).")
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        from hanlm.encodings import CHINESE_ENCODINGS, SAMPLE_BYTES, detect

        if name := CHINESE_ENCODINGS.get(detect(raw[:SAMPLE_BYTES])):
            raise InputError(
                f"expected UTF-8, but {source} looks like {name}; `hanlm corpus build` converts such files while it "
                "reads them, or convert it with iconv."
            ) from error
        raise InputError(f"{source} is not valid JSON ({error}); mend it or convert it to .jsonl.") from error
    for number, value in enumerate(values if isinstance(values, list) else [values], 1):
        quarantine.num_seen += 1
        record = "not_an_object"
        if isinstance(value, dict):
            record = with_fields(cast(dict[str, Any], value), required, quarantine, f"{source} record {number}")
        if isinstance(record, str):
            quarantine.add(record, source, number, orjson.dumps(value))
        else:
            yield number, record
