"""Documents out of records: JSON lines and lists, Parquet and Arrow files, with their columns mapped."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from textwrap import shorten
from typing import Any, Final, cast

from corpora.sources.formats import format_of
from corpora.sources.raw_file import RawFile
from corpora.sources.source import Fields, Source
from hanlm.arrow_rows import arrow_batches, numbered_rows, parquet_batches
from hanlm.errors import InputError
from hanlm.json_lines import MAX_LIST_BYTES, json_records
from hanlm.quarantine import Quarantine
from hanlm.records import Document
from hanlm.streams import MAX_LINE_BYTES

_MAX_NAMED: Final = 12
_MISSING: Final = object()
_LABELS = ("id", "domain", "lang", "source", "license", "group")


def read_json(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of JSON lines, or of a file that is one list or one object."""
    kind = format_of(file.name, source.format)
    with file.open_text(source) as stream:
        rows = json_records(
            stream,
            file.label,
            quarantine,
            (),
            whole=kind is not None and kind.name == "json",
            first_line=file.first_line,
            invalid=stream.invalid,
        )
        yield from mapped(rows, file, source, quarantine)


def read_parquet(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of a Parquet file's row groups, a batch at a time."""
    batches = parquet_batches(_seekable(file), file.label, file.start, file.stop)
    yield from _mapped_batches(batches, file, source, quarantine)


def read_arrow(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of an Arrow file or stream, as ``datasets`` writes them, mapped into memory."""
    yield from _mapped_batches(arrow_batches(_seekable(file), file.label), file, source, quarantine)


def mapped(
    rows: Iterator[tuple[int, Mapping[str, Any]]], file: RawFile, source: Source, quarantine: Quarantine
) -> Iterator[Document]:
    """Yield a document for each record; one that lacks a column, or whose text is no text, is quarantined."""
    for number, record in rows:
        found = _document(record, number, file, source)
        if isinstance(found, Document):
            yield found
            continue
        reason, column = found
        if reason == "missing_field":
            has = ", ".join(shorten(str(name), 40) for name in list(record)[:_MAX_NAMED]) or "none"
            quarantine.lacking = quarantine.lacking or (
                f"expected a column {column!r} in every record, but {file.label} line {number} has the columns {has}"
            )
        quarantine.add(reason, file.label, number, repr(record).encode("utf-8", "backslashreplace"))


def _document(record: Mapping[str, Any], number: int, file: RawFile, source: Source) -> Document | tuple[str, str]:
    """Return the document, or the reason why it is none and the column at fault."""
    text, reason, column = _text(record, source.fields)
    if reason:
        return reason, column
    labels: dict[str, str] = {}
    for name in _LABELS:
        column: str | None = getattr(source.fields, name)
        value = _MISSING if column is None else _value(record, column or name)
        if value is _MISSING and column:
            return "missing_field", column
        labels[name] = "" if value is _MISSING or value is None else str(value)
    return Document(
        id=labels["id"] or f"{file.stem}:{number}",
        text=text,
        domain=labels["domain"] or source.domain or "default",
        lang=labels["lang"] or source.lang or "",
        source=labels["source"] or file.name,
        license=labels["license"] or source.license,
        group=labels["group"],
    )


def _text(record: Mapping[str, Any], fields: Fields) -> tuple[str, str, str]:
    """Return the text, or the reason why there is none and the column at fault."""
    parts: list[str] = []
    for column in fields.text:
        value = _value(record, column)
        if value is _MISSING:
            return "", "missing_field", column
        if value is None:
            continue
        if isinstance(value, list):
            lines = cast(list[Any], value)
            value = "\n".join(lines) if all(isinstance(line, str) for line in lines) else value
        if not isinstance(value, str):
            return "", "wrong_type", column
        parts.append(value)
    if not parts:
        return "", "null_field", fields.text[0]
    text = "\n\n".join(part for part in parts if part.strip()) if len(parts) > 1 else parts[0]
    return (text, "", "") if len(text) <= MAX_LINE_BYTES else ("", "too_long", fields.text[0])


def _value(record: Any, path: str) -> Any:
    """Return what stands in a column, or below one where a name has dots; of a list of records a list."""
    if isinstance(record, list):
        values = [_value(part, path) for part in cast(list[Any], record)]
        return _MISSING if any(value is _MISSING for value in values) else values
    if not isinstance(record, Mapping):
        return _MISSING
    record = cast(Mapping[str, Any], record)
    if path in record:
        return record[path]
    head, dot, rest = path.partition(".")
    return _value(record[head], rest) if dot and head in record else _MISSING


def _mapped_batches(
    batches: Iterator[Any], file: RawFile, source: Source, quarantine: Quarantine
) -> Iterator[Document]:
    checked = _with_columns(batches, file, source)
    rows = numbered_rows(checked, file.label, quarantine, first_row=file.first_line)
    yield from mapped(rows, file, source, quarantine)


def _with_columns(batches: Iterator[Any], file: RawFile, source: Source) -> Iterator[Any]:
    """Refuse a table without a column that is asked for: its every row would be quarantined."""
    fields = source.fields
    wanted = [column for column in (*fields.text, *(getattr(fields, name) for name in _LABELS)) if column]
    for batch in batches:
        names: list[str] = batch.schema.names
        for column in wanted:
            if column not in names and column.partition(".")[0] not in names:
                raise InputError(
                    f"expected a column {column!r} in {file.label}, got {names}; "
                    "name the column that holds it in `fields` of the source."
                )
        yield batch


def _seekable(file: RawFile) -> Any:
    """Return a path, or the bytes of a member of an archive, which has to fit in memory."""
    if file.path is not None:
        return file.path
    raw, is_whole = file.read_whole(MAX_LIST_BYTES)
    if not is_whole:
        size = f"{MAX_LIST_BYTES // 2**20} MiB"
        raise InputError(f"{file.label} is over {size}, too large to be read out of an archive; unpack it first.")
    return BytesIO(raw)
