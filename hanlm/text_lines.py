"""Text files, read strictly line by line and grouped into documents."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.streams import MAX_LINE_BYTES, iter_lines, open_stream

type TxtUnit = Literal["file", "line", "paragraph"]


def read_texts(path: Path, quarantine: Quarantine, unit: TxtUnit) -> Iterator[tuple[int, str]]:
    """Yield (number of its first line, text) of each file, non-blank line, or paragraph between blank lines.

    A line that is not UTF-8 or far too long is quarantined; what it stood in is kept without it.

    Raises:
        InputError: If the file is truncated, or one document would not fit in bounded memory.
    """
    with open_stream(path) as stream:
        yield from texts_of(stream, path, quarantine, unit)


def texts_of(
    stream: BinaryIO,
    source: Path | str,
    quarantine: Quarantine,
    unit: TxtUnit,
    *,
    first_line: int = 1,
    invalid: Callable[[], str] = lambda: "invalid_utf8",
) -> Iterator[tuple[int, str]]:
    """Yield what ``read_texts`` does out of an open stream, whose first line has the number ``first_line``.

    ``invalid`` says why a line with bad bytes is quarantined, where the stream was converted to UTF-8.
    """
    lines = _txt_lines(stream, source, quarantine, first_line, invalid, are_records=unit == "line")
    if unit == "line":
        return _single_lines(lines)
    return _grouped_lines(lines, source, quarantine, by_paragraph=unit == "paragraph")


def _txt_lines(
    stream: BinaryIO,
    source: Path | str,
    quarantine: Quarantine,
    first_line: int,
    invalid: Callable[[], str],
    *,
    are_records: bool,
) -> Iterator[tuple[int, str]]:
    """Yield (line number, line); blank lines too, because they part paragraphs."""
    for number, line, complete in iter_lines(stream, first_line=first_line):
        quarantine.num_seen += bool(line)
        quarantine.num_lines += bool(line) and not are_records
        text, reason = None, "too_long"
        try:
            text = line.decode("utf-8") if complete else None
        except UnicodeDecodeError:
            reason = invalid()
        if text is not None:
            yield number, text
        else:
            quarantine.num_bad_lines += not are_records
            quarantine.add(reason, source, number, line)


def _single_lines(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in lines if line.strip())


def _grouped_lines(
    txt_lines: Iterator[tuple[int, str]], source: Path | str, quarantine: Quarantine, *, by_paragraph: bool
) -> Iterator[tuple[int, str]]:
    """Yield (number of the first line, lines joined): the whole file, or what stands between blank lines."""
    lines: list[str] = []
    first = num_chars = 0
    for number, line in txt_lines:
        if by_paragraph and not line.strip():
            if lines:
                quarantine.num_texts += 1
                yield first, "\n".join(lines)
            lines, num_chars = [], 0
            continue
        first = first if lines else number
        lines.append(line)
        num_chars += len(line) + 1
        if num_chars > MAX_LINE_BYTES:
            unit, remedy = ("paragraph", "line") if by_paragraph else ("file", "paragraph or line")
            raise InputError(
                f"{source} would give one document of over {MAX_LINE_BYTES // 2**20} Mi characters with "
                f"--txt-unit {unit}; pass --txt-unit {remedy}, or split the file."
            )
    if lines:
        quarantine.num_texts += 1
        yield first, "\n".join(lines)
