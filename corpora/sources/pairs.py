"""Documents out of parallel text: JSON lines or ``.tsv``, each record a text and its translation."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from corpora.sources.bilingual import Pair, pack, render
from corpora.sources.formats import format_of
from corpora.sources.parallel import ParallelConfig
from corpora.sources.raw_file import RawFile
from corpora.sources.source import Source
from hanlm.encodings import TextStream
from hanlm.json_lines import json_records
from hanlm.quarantine import Quarantine
from hanlm.records import Document
from hanlm.streams import iter_lines

_TSV: Final = re.compile(r"\.tsv(?:\.gz|\.bz2|\.zst)?$")


def read_parallel(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield bilingual documents; the source's own domain wins over that of its ``parallel`` settings."""
    config = source.parallel
    for pairs in pack(read_pairs(file, source, quarantine), config.max_chars):
        document = render(pairs, config)
        yield replace(document, domain=source.domain or document.domain, license=document.license or source.license)


def read_pairs(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Pair]:
    """Yield the pairs of a file; what is none goes to the quarantine with its reason, its neighbours are kept."""
    reader = _read_tsv if _TSV.search(file.name.lower()) else _read_json
    with file.open_text(source) as stream:
        yield from reader(file, stream, quarantine, source.parallel)


def _read_json(file: RawFile, stream: TextStream, quarantine: Quarantine, config: ParallelConfig) -> Iterator[Pair]:
    kind = format_of(file.name)
    whole = kind is not None and kind.name == "json"
    for number, record in json_records(stream, file.label, quarantine, (), whole=whole, invalid=stream.invalid):
        names = config.fields or (config.languages if config.languages[0] in record else ("src", "tgt"))
        texts = [record.get(name) for name in names]
        if (reason := _reason_against(texts, [name in record for name in names])) is not None:
            quarantine.add(reason, file.label, number, repr(record).encode("utf-8", "backslashreplace"))
            continue
        labels = {key: str(record.get(key) or "") for key in ("id", "source", "license")}
        labels["id"] = labels["id"] or f"{file.stem}:{number}"
        labels["source"] = labels["source"] or file.name
        yield Pair(str(texts[0]).strip(), str(texts[1]).strip(), **labels)


def _read_tsv(file: RawFile, stream: TextStream, quarantine: Quarantine, config: ParallelConfig) -> Iterator[Pair]:
    """Yield the pairs of lines with tabs between columns; there is no quoting, as in the files of OPUS and Tatoeba."""
    for number, line, complete in iter_lines(stream):
        if not line.strip():
            continue
        quarantine.num_seen += 1
        pair = _of_line(line, config.columns, stream.invalid) if complete else "too_long"
        if isinstance(pair, str):
            quarantine.add(pair, file.label, number, line)
        else:
            yield Pair(*pair, id=f"{file.stem}:{number}", source=file.name)


def _of_line(line: bytes, columns: tuple[int, int], invalid: Callable[[], str]) -> tuple[str, str] | str:
    """Return the two sides of a line, or the reason why there are none."""
    try:
        cells = line.decode("utf-8").split("\t")
    except UnicodeDecodeError:
        return invalid()
    texts = [cells[column].strip() if column < len(cells) else None for column in columns]
    reason = _reason_against(texts, [text is not None for text in texts])
    return reason or (str(texts[0]), str(texts[1]))


def _reason_against(texts: Sequence[Any], present: Sequence[bool]) -> str | None:
    if not all(present):
        return "missing_field"
    if any(text is None for text in texts):
        return "null_field"
    if not all(isinstance(text, str) for text in texts):
        return "wrong_type"
    return None if all(text.strip() for text in texts) else "empty_side"
