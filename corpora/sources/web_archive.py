"""Crawls: WARC files of web pages as servers sent them, and WET files of the plain text of pages."""

import re
from collections.abc import Iterator
from typing import Any

from corpora.sources.raw_file import RawFile, document
from corpora.sources.source import Source
from corpora.sources.web_page import MAX_PAGE_BYTES, decode_page, main_text
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)


def read_warc(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield a document for each page of HTML or plain text that a server answered with; its URL is id and source.

    Requests, metadata, images, redirections and error pages are no documents and are passed over.

    Raises:
        InputError: If the file is truncated or no WARC file.
    """
    for number, record in _records(file):
        kind = _page_type(record)
        if kind is None:
            continue
        raw = _content(record)
        yield from _page(raw, kind, number, record, file, source, quarantine)


def read_wet(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield a document for each page's plain text; its URL is id and source.

    Raises:
        InputError: If the file is truncated or no WET file.
    """
    for number, record in _records(file):
        if record.rec_type == "conversion":
            yield from _page(_content(record), "text/plain", number, record, file, source, quarantine)


def _page(
    raw: bytes, kind: str, number: int, record: Any, file: RawFile, source: Source, quarantine: Quarantine
) -> Iterator[Document]:
    quarantine.num_seen += 1
    if len(raw) > MAX_PAGE_BYTES:
        quarantine.add("too_long", file.label, number, raw)
        return
    is_cut = record.rec_headers.get_header("WARC-Truncated") is not None
    charset = source.encoding or _charset(record)
    if kind == "text/plain":
        page = decode_page(raw, charset or "utf-8", is_cut=is_cut)
    else:
        page = decode_page(raw, charset, is_cut=is_cut)
    if isinstance(page, str):
        quarantine.add(page, file.label, number, raw)
        return
    url = record.rec_headers.get_header("WARC-Target-URI") or ""
    text = page[0] if kind == "text/plain" else main_text(page[0])
    yield document(source, file, id=url or f"{file.stem}:{number}", text=text, origin=url)


def _records(file: RawFile) -> Iterator[tuple[int, Any]]:
    """Yield the records and their numbers; each is read to its end before the next, so that a cut one is noticed."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    with file.open() as stream:
        records = iter(ArchiveIterator(stream, no_record_parse=False))
        number = 0
        while True:
            try:
                record = next(records, None)
            except (ArchiveLoadFailed, ValueError, UnicodeError) as error:
                raise InputError(
                    f"{file.label} is damaged or no web archive ({error}); nothing of it is used: copy it again."
                ) from error
            if record is None:
                break
            number += 1
            yield number, record
            _require_end(record, file)
        if not number:
            raise InputError(f"{file.label} holds no record; expected a web archive.")


def _require_end(record: Any, file: RawFile) -> None:
    while record.raw_stream.read(2**16):
        pass
    if getattr(record.raw_stream, "limit", 0) > 0:
        raise InputError(f"{file.label} is truncated; nothing of it is used: copy it again.")


def _content(record: Any) -> bytes:
    """Return a record's bytes, unpacked as its server packed them; of a longer one than is used, a little more."""
    import zlib

    try:
        return bytes(record.content_stream().read(MAX_PAGE_BYTES + 1))
    except (zlib.error, OSError, ValueError):  # a page that is not packed as its header says
        return b""


def _page_type(record: Any) -> str | None:
    if record.rec_type not in ("response", "resource"):
        return None
    headers = record.http_headers
    if record.rec_type == "response" and (headers is None or headers.get_statuscode() != "200"):
        return None
    stated = (headers or record.rec_headers).get_header("Content-Type") or ""
    kind = stated.partition(";")[0].strip().lower()
    return kind if kind in (*_HTML_TYPES, "text/plain") else None


def _charset(record: Any) -> str | None:
    stated = record.http_headers.get_header("Content-Type") if record.http_headers else None
    found = _CHARSET.search(stated or "")
    return found[1] if found else None
