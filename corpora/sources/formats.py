"""The formats that text comes in: how a file's name tells which, and where its reader is."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Final

from corpora.sources.raw_file import RawFile
from corpora.sources.source import FormatName, Source
from hanlm.quarantine import Quarantine
from hanlm.records import Document

type Reader = Callable[[RawFile, Source, Quarantine], Iterator[Document]]

_PACKED = r"(?:\.gz|\.bz2|\.zst)?$"


@dataclass(frozen=True, slots=True)
class Format:
    """One way that documents lie in a file."""

    name: FormatName
    endings: str
    """What names end in, for people."""
    pattern: str
    """Found in the names of its files, in lower case."""
    target: str
    """Its reader, ``module:function``; imported when a file is read."""
    in_archives: bool = True
    """Whether a member of an archive is read so."""

    def reader(self) -> Reader:
        """Return the function that reads such a file."""
        return resolve_name(f"corpora.sources.{self.target}")


# In this order: the first pattern that is found counts.
FORMATS: Final = (
    Format("jsonl", ".jsonl", r"\.(?:jsonl|ndjson)" + _PACKED, "records:read_json"),
    Format("json", ".json", r"\.json" + _PACKED, "records:read_json"),
    Format("txt", ".txt", r"\.txt" + _PACKED, "plain_text:read_text"),
    Format("md", ".md", r"\.(?:md|markdown)" + _PACKED, "plain_text:read_text"),
    Format("parallel", ".tsv", r"\.tsv" + _PACKED, "pairs:read_parallel"),
    Format("parquet", ".parquet", r"\.parquet$", "records:read_parquet"),
    Format("arrow", ".arrow", r"\.arrow$", "records:read_arrow"),
    Format("wet", ".wet", r"\.wet" + _PACKED, "web_archive:read_wet"),
    Format("warc", ".warc", r"\.warc" + _PACKED, "web_archive:read_warc"),
    Format("wikipedia", "-pages-articles.xml", r"pages-(?:articles|meta)[^/]*\.xml[^/]*$", "wikipedia:read_dump"),
    Format("epub", ".epub", r"\.epub$", "epub:read_epub"),
    Format("html", ".html", r"\.(?:html?|xhtml)" + _PACKED, "web_page:read_page"),
    Format("zip", ".zip", r"\.zip$", "archive:read_zip", in_archives=False),
    Format("tar", ".tar", r"\.(?:tgz|tbz2)$|\.tar" + _PACKED, "archive:read_tar", in_archives=False),
)


def format_of(name: str, override: FormatName | None = None) -> Format | None:
    """Return the format of a file by its name; None where no format fits.

    An overriding name counts instead, but for archives: it is the format of their members.
    """
    found = next((known for known in FORMATS if re.search(known.pattern, name.lower())), None)
    if override is None or (found is not None and not found.in_archives):
        return found
    return next(known for known in FORMATS if known.name == override)


def endings() -> str:
    """Return what the names of readable files end in, for people."""
    return ", ".join(known.endings for known in FORMATS) + " (texts also with .gz, .bz2, .zst)"
