"""HTML: the encoding that a page declares honoured, its title and main text taken by trafilatura."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from corpora.sources.epub import html_text
from corpora.sources.raw_file import RawFile, document
from corpora.sources.source import Source
from hanlm.encodings import CHINESE_ENCODINGS, UTF8, codec_name, detect
from hanlm.errors import ConfigError
from hanlm.quarantine import Quarantine
from hanlm.records import Document

MAX_PAGE_BYTES: Final = 2**24
"""Largest page that is taken apart; crawls cut pages at a megabyte or five."""

_DECLARED_WITHIN = 4096
_CHARSET = re.compile(rb"""<(?:meta\b[^>]{0,500}?charset|\?xml\b[^>]{0,200}?encoding)\s*=\s*["']?\s*([\w-]+)""", re.I)
_LONGEST_CHARACTER = 4
_LENIENT = frozenset({"koi8-r", "koi8-u", "tis-620"})


def read_page(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the one document of an HTML file: its main text, or all its text where none of it stands out."""
    raw, is_whole = file.read_whole(MAX_PAGE_BYTES)
    quarantine.num_seen += 1
    html = decode_page(raw, source.encoding) if is_whole else "too_long"
    if isinstance(html, str):
        quarantine.add(html, file.label, 1, raw)
    else:
        # Of a page that somebody put here, all text is better than none; a crawl's pages of menus are better left.
        yield document(source, file, id=file.name, text=main_text(html[0]) or html_text(html[0].encode()))


def decode_page(raw: bytes, declared: str | None = None, *, is_cut: bool = False) -> tuple[str] | str:
    """Return a page's characters as a tuple of one, or the reason why it has none.

    The encoding is, in this order: what a byte order mark says, what ``declared`` names (the server, or the user), what
    the page itself names, and what its bytes look like; the first that decodes it strictly counts.

    Args:
        raw: The page.
        declared: An encoding's name, which may be unknown or wrong.
        is_cut: Whether its end may be missing, so that a cut last character is no fault.
    """
    inside = _CHARSET.search(raw[:_DECLARED_WITHIN])
    names = [declared, inside[1].decode("ascii", "replace") if inside else None]
    guess = detect(raw, is_whole=not is_cut)
    marked = raw[:3] == b"\xef\xbb\xbf" or raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    codecs = [codec for name in names if name and (codec := _codec_or_none(name))]
    # Pages of the time before UTF-8 often declare it without being it, and the other way round.
    # The encodings of one byte for each character take any bytes, so they come last.
    strict = [codec for codec in codecs if codec not in _LENIENT and not codec.startswith(("iso8859", "cp125", "mac"))]
    tried = [guess, *codecs] if marked else [*strict, guess, *codecs]
    for codec in tried:
        for cut in range(_LONGEST_CHARACTER if is_cut else 1):
            with suppress(UnicodeDecodeError):
                return (raw[: len(raw) - cut].decode(codec).removeprefix("\ufeff"),)
    name = tried[0]
    family = name if name in CHINESE_ENCODINGS else UTF8 if name == UTF8 else "encoding"
    return "invalid_" + family.replace("-", "").removesuffix("hkscs")


def main_text(html: str) -> str:
    """Return a page's title and main text, without menus, advertisements and comments; empty if it has none."""
    import trafilatura
    from trafilatura.metadata import extract_title

    if (tree := trafilatura.load_html(html.replace("\0", ""))) is None:
        return ""
    # The title alone: all metadata, a date among them, took four times as long as the text itself.
    title = (extract_title(tree) or "").strip()
    found = trafilatura.bare_extraction(tree, include_comments=False)
    text = str(getattr(found, "text", "") or "")
    return text if not text or not title or title in text[: 2 * len(title) + 80] else f"{title}\n\n{text}"


def _codec_or_none(name: str) -> str | None:
    try:
        return codec_name(name)
    except ConfigError:
        return None
