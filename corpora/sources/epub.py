"""EPUB books: one document for each chapter, in the order of the spine; all chapters of a book are one group."""

import lzma
import re
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any, Final
from urllib.parse import unquote
from zipfile import BadZipFile, ZipFile, ZipInfo

from corpora.sources.raw_file import MAX_WHOLE_BYTES, RawFile, document
from corpora.sources.source import Source
from corpora.sources.unpacking import refuse_bomb
from hanlm.errors import InputError
from hanlm.json_lines import MAX_LIST_BYTES
from hanlm.quarantine import Quarantine
from hanlm.records import Document

_BLOCKS: Final = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tr",
        "ul",
    ]
)
_BLANKS: Final = re.compile(" {2,}")
_NO_TEXT: Final = frozenset({"head", "script", "style", "rt", "rp", "svg", "nav"})


def read_epub(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the chapters of a book.

    Raises:
        InputError: If it is damaged, no EPUB, or a decompression bomb.
    """
    try:
        with ZipFile(_book(file)) as book:
            refuse_bomb(book.infolist(), file.label)
            package = _package_path(book, file)
            root = _xml(book.read(_member(book, package, file)), file)
            locked = _locked(book, file)
            lang = (root.findtext(".//{*}language") or "").strip()
            for number, path in enumerate(_spine(root, dirname(package)), 1):
                quarantine.num_seen += 1
                text = _chapter(book, path, locked)
                if isinstance(text, str):
                    quarantine.add(text, f"{file.label}!{path}", number, b"")
                    continue
                id = f"{file.name}:{number}"
                yield document(source, file, id=id, text=text[0], lang=lang, group=file.name)
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{file.label} is damaged or no EPUB ({error}); nothing of it is used.") from error


def html_text(raw: bytes) -> str:
    """Return all the text of a page of HTML, a line for each block; readings beside characters are left out."""
    from lxml import etree, html  # pyright: ignore[reportAttributeAccessIssue]

    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    try:
        root = html.document_fromstring(raw, parser=parser)
    except (etree.ParserError, ValueError):  # no element at all
        return ""
    lines = "".join(_pieces(root)).split("\n")
    return "\n".join(_BLANKS.sub(" ", line).strip() for line in lines if line.strip())


def _pieces(element: Any) -> Iterator[str]:
    """Yield text as a browser shows it: white space is a space, a block begins a line. Depth may be any."""
    pending: list[Any] = [element]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
            continue
        is_block = item.tag in _BLOCKS
        if item.tag in ("td", "th"):
            yield " "
        if item.tail and item is not element:
            pending.append(_spaces(item.tail))
        if not isinstance(item.tag, str) or item.tag in _NO_TEXT:
            continue
        if is_block:
            pending.append("\n")
        pending.extend(reversed(item))
        if item.text:
            pending.append(item.text if item.tag == "pre" else _spaces(item.text))
        if is_block:
            pending.append("\n")


def _spaces(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").replace("\t", " ")


def _book(file: RawFile) -> Path | BytesIO:
    if file.path is not None:
        return file.path
    raw, is_whole = file.read_whole(MAX_LIST_BYTES)
    if not is_whole:
        raise InputError(f"{file.label} is too large to be read out of an archive; unpack it first.")
    return BytesIO(raw)


def _xml(raw: bytes, file: RawFile) -> Any:
    """Parse XML without entities of its own: none is expanded, and none is fetched."""
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(raw, parser)
    except etree.XMLSyntaxError as error:
        raise InputError(f"{file.label} is damaged or no EPUB ({error}); nothing of it is used.") from error


def _package_path(book: ZipFile, file: RawFile) -> str:
    container = _xml(book.read(_member(book, "META-INF/container.xml", file)), file)
    found = container.find(".//{*}rootfile[@full-path]")
    if found is None:
        raise InputError(f"{file.label} names no package file; expected an EPUB.")
    return found.get("full-path")


def _member(book: ZipFile, path: str, file: RawFile) -> ZipInfo:
    try:
        info = book.getinfo(path)
    except KeyError:
        raise InputError(f"{file.label} has no {path}; expected an EPUB.") from None
    if info.file_size > MAX_WHOLE_BYTES:
        raise InputError(f"{file.label}: {path} is over {MAX_WHOLE_BYTES // 2**20} MiB; expected an EPUB.")
    return info


def _locked(book: ZipFile, file: RawFile) -> frozenset[str]:
    """Return the members that are encrypted, by the book's own list."""
    path = "META-INF/encryption.xml"
    if path not in book.namelist():
        return frozenset()
    root = _xml(book.read(_member(book, path, file)), file)
    return frozenset(unquote(found.get("URI", "")) for found in root.iterfind(".//{*}CipherReference"))


def _spine(root: Any, folder: str) -> list[str]:
    """Return the paths of the chapters within the book, in reading order."""
    hrefs = {item.get("id"): item for item in root.iterfind(".//{*}manifest/{*}item")}
    chapters = [hrefs.get(ref.get("idref")) for ref in root.iterfind(".//{*}spine/{*}itemref")]
    return [
        normpath(join(folder, unquote(item.get("href", ""))))
        for item in chapters
        if item is not None and "html" in item.get("media-type", "") and "nav" not in item.get("properties", "").split()
    ]


def _chapter(book: ZipFile, path: str, locked: frozenset[str]) -> tuple[str] | str:
    """Return a chapter's text as a tuple of one, or the reason why it has none."""
    if path in locked:
        return "encrypted"
    try:
        info = book.getinfo(path)
    except KeyError:
        return "missing_member"
    if info.flag_bits & 1:
        return "encrypted"
    if info.file_size > MAX_WHOLE_BYTES:
        return "too_long"
    raw = book.read(info)
    # EPUB allows these two; the parser would read on past a bad byte.
    codec = "utf-16" if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8"
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        return "invalid_" + codec.replace("-", "")
    return (html_text(text.encode()),)
