"""The texts of evaluation files: questions, choices and answers of JSON lines, CSV or Parquet."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import JSON_SUFFIXES, PARQUET_SUFFIXES, TEXT_SUFFIXES, list_files, read_json_lines
from hanlm.text_lines import read_texts

_TABLE_SUFFIXES: Final = (".csv", ".tsv")
EVALUATION_SUFFIXES: Final = JSON_SUFFIXES + PARQUET_SUFFIXES + TEXT_SUFFIXES + _TABLE_SUFFIXES

_CHOICE = re.compile(r"[A-Z]|(option|choice|ending|candidate|distractor|sol|选项)s?[_ ]?[0-9A-Za-z]?", re.IGNORECASE)
# What says where an item comes from, not what it asks.
_NOT_TEXT = frozenset(
    (
        *("id", "idx", "index", "uid", "guid", "url", "source", "license", "domain", "level", "split"),
        *("category", "categories", "subject", "class", "type", "label"),
    )
)
_MAX_FIELD_CHARS = 1 << 24


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an evaluation."""

    file: str
    number: int
    """Its number in the file, from 1."""
    prose: tuple[tuple[str, str], ...]
    """(field, text) of questions, passages and answers."""
    choices: tuple[str, ...]
    """The answers offered: they tell of the item only together."""


def read_items(paths: Sequence[Path], fields: Sequence[str] = ()) -> Iterator[Item]:
    """Yield the items of files and folders in a fixed order; of text files each line is one.

    Args:
        paths: JSON lines, JSON, CSV, TSV, Parquet, text, or folders of them.
        fields: The fields to read; none means every field with text but those that say where an item comes from.

    Raises:
        InputError: If a file is missing, empty or damaged, or has none of the fields.
    """
    for path in paths:
        for file in list_files([path], EVALUATION_SUFFIXES):
            name = file.relative_to(path.parent).as_posix()
            num_texts = 0
            for number, record in enumerate(_records(file), 1):
                item = _item(name, number, record, frozenset(fields))
                num_texts += bool(item.prose or item.choices)
                yield item
            if not num_texts:
                wanted = f"one of the fields {', '.join(fields)}" if fields else "a field with text"
                raise InputError(f"expected {wanted} in {file}, got none; name its fields or leave the file out.")


def _records(file: Path) -> Iterator[dict[str, Any]]:
    name = file.name.lower()
    if name.endswith(_TABLE_SUFFIXES):
        yield from _table_rows(file)
        return
    quarantine = Quarantine()
    if name.endswith(JSON_SUFFIXES):
        yield from read_json_lines(file, quarantine, ())
    elif name.endswith(PARQUET_SUFFIXES):
        from hanlm.arrow_rows import numbered_parquet_rows

        yield from (row for _, row in numbered_parquet_rows(file, quarantine, ()))
    else:
        yield from ({"text": text} for _, text in read_texts(file, quarantine, "line"))
    quarantine.check(0.0)  # an item that cannot be read would be one that cannot be kept out


def _table_rows(file: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(_MAX_FIELD_CHARS)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield from csv.DictReader(stream, delimiter="\t" if file.suffix.lower() == ".tsv" else ",", strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a table in UTF-8 at {file}, got {error}; convert or mend it.") from error


def _item(file: str, number: int, record: dict[str, Any], fields: frozenset[str]) -> Item:
    prose: list[tuple[str, str]] = []
    choices: list[str] = []
    for key, value in record.items():
        if (fields and key not in fields) or (not fields and (key or "").lower() in _NOT_TEXT):
            continue
        for name, text, is_choice in _strings(key, value):
            choices.append(text) if is_choice else prose.append((name, text))
    return Item(file, number, tuple(prose), tuple(choices))


def _strings(key: str | None, value: object, is_choice: bool = False) -> Iterator[tuple[str, str, bool]]:
    """Yield (field, text, whether it is a choice) of a value that may hold lists and objects."""
    name = key or "text"
    is_choice = is_choice or _CHOICE.fullmatch(name) is not None
    if isinstance(value, str):
        if value.strip():
            yield name, value, is_choice
    elif isinstance(value, dict):
        for inner, part in value.items():
            for _, text, chosen in _strings(inner, part, is_choice):
                yield f"{name}.{inner}", text, chosen
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(name, part, is_choice)
