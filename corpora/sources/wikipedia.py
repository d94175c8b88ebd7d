"""Wikipedia dumps: articles out of the XML, one at a time, their wikitext turned into plain text.

The XML is cut at its ``<page>`` elements, which MediaWiki writes literally and whose content never holds one unescaped.
So a page with bad bytes costs that page alone, and what a dump declares before its pages is never parsed: no entity of
it can expand.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, Final
from xml.etree import ElementTree

from corpora.sources.raw_file import RawFile, document
from corpora.sources.source import Source
from corpora.sources.wikitext import plain_text
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document
from hanlm.streams import MAX_LINE_BYTES

_CHUNK_BYTES: Final = 2**20
_BEGIN, _END, _ROOT_END = b"<page>", b"</page>", b"</mediawiki>"
_DBNAME = re.compile(rb"<dbname>([\w-]+)</dbname>")
_TRADITIONAL = re.compile(r"hant|tw|hk|mo\b", re.IGNORECASE)


def read_dump(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the articles: namespace 0, no redirections. Each is its title, a blank line, and its text.

    Raises:
        InputError: If the file ends before the dump does, or is no dump.
    """
    variant = "zh-hant" if _TRADITIONAL.search(source.lang or "") else "zh-hans"
    with file.open() as stream:
        pages = _pages(stream, file.label)
        found = _DBNAME.search(next(pages)[1])
        wiki = found[1].decode() if found else file.stem
        for number, raw in pages:
            article = _article(raw)
            if article is None:
                continue
            quarantine.num_seen += 1
            if isinstance(article, str):
                quarantine.add(article, file.label, number, raw)
                continue
            id, title, wikitext = article
            text = plain_text(wikitext, variant)
            if text is None:
                quarantine.add("malformed_wikitext", file.label, number, wikitext.encode("utf-8"))
                continue
            name = f"{wiki}:{id}"
            yield document(
                source, file, id=name, text=f"{title}\n\n{text}" if text else "", origin=f"{wiki}:{title}", group=name
            )


def _pages(stream: BinaryIO, label: str) -> Iterator[tuple[int, bytes]]:
    """Yield (0, what stands before the first page), then (number, page element); one page is held at a time.

    Of a page larger than a record may be, only the beginning is given.
    """
    buffer = bytearray()
    searched = number = 0
    is_ended = False
    while True:
        while (begin := buffer.find(_BEGIN)) >= 0:
            if number == 0:
                yield 0, bytes(buffer[:begin])
                number = 1
            del buffer[:begin]
            end = buffer.find(_END, max(0, searched - begin - len(_END)))
            searched = len(buffer)
            if end < 0:
                break
            end += len(_END)
            yield number, bytes(buffer[:end])
            number += 1
            del buffer[:end]
            searched = 0
        if not buffer.startswith(_BEGIN):
            is_ended = is_ended or _ROOT_END in buffer
            if number:
                del buffer[: -len(_ROOT_END)]
        if len(buffer) > MAX_LINE_BYTES:
            if not number:
                break
            yield number, bytes(buffer)
            number += 1
            searched = 0
            buffer = _skip_page(stream, bytes(buffer[-len(_END) :]))
            continue
        if not (chunk := stream.read(_CHUNK_BYTES)):
            break
        buffer += chunk
    if not number:
        raise InputError(
            f"{label} holds no <page>; expected a dump of MediaWiki such as zhwiki-…-pages-articles.xml.bz2."
        )
    if not is_ended:
        raise InputError(f"{label} is truncated: it ends before </mediawiki>; copy it again.")


def _skip_page(stream: BinaryIO, tail: bytes) -> bytearray:
    """Read on to the end of a page that is too long; return what follows."""
    while chunk := stream.read(_CHUNK_BYTES):
        tail += chunk
        if (end := tail.find(_END)) >= 0:
            return bytearray(tail[end + len(_END) :])
        tail = tail[-len(_END) :]
    return bytearray()


def _article(raw: bytes) -> tuple[str, str, str] | str | None:
    """Return an article's id, title and wikitext; or why it cannot be read; or None where it is no article."""
    if not raw.endswith(_END):
        return "too_long"
    try:
        page = ElementTree.fromstring(raw)
    except (ElementTree.ParseError, ValueError):
        return "invalid_utf8" if _is_not_utf8(raw) else "malformed_xml"
    if page.findtext("ns", "0").strip() != "0" or page.find("redirect") is not None:
        return None
    wikitext = page.findtext("revision/text")
    id, title = page.findtext("id"), page.findtext("title")
    if id is None or title is None or wikitext is None:
        return "missing_field"
    return id, title, wikitext


def _is_not_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
