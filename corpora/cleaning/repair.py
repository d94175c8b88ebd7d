"""What a crawl left half decoded: HTML entities, escapes, UTF-8 read in the wrong encoding."""

import html
import re
from html.entities import html5
from typing import Final

from corpora.cleaning.code import outside_code
from corpora.cleaning.mojibake import mend_mojibake

_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_AMPERSANDS: Final = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)+")
_BLANKS: Final = frozenset("\xa0\u3000\u2002\u2003\u2009\t\n ")
_MAX_ROUNDS: Final = 8
_SPOKEN_OF: Final = re.compile(r"HTML ?(?:entit|实体|实體|實體|转义|轉義)|字符实体|转义字符", re.IGNORECASE)
_ESCAPES: Final = re.compile(r"(?<![\\A-Za-z0-9_\"'\[(-])(?:\\u[0-9a-fA-F]{4}){2,}(?![\\A-Za-z0-9_\"'\]-])")
_BLANK_ESCAPES: Final = re.compile(
    r"(?<![\\A-Za-z0-9_\"'\[(|-])(?:\\u3000|\\u00a0|\\xa0|\\u200b|\\ufeff)+(?![\\\]|-])", re.I
)
_ANY_ESCAPE: Final = re.compile(r"(?<!\\)(?:\\u[0-9a-fA-F]{4})+")
_CHINESE_ESCAPE: Final = re.compile(r"\\u(?:3[04-9a-f]|[4-9][0-9a-f]|ff)[0-9a-f]{2}", re.I)
_HAN: Final = re.compile("[\u4e00-\u9fff]")


def repair(text: str) -> str:
    r"""Return the text with what was left half decoded made whole; idempotent.

    Outside code and formulas: HTML entities, however often they were escaped, unless the text is about them;
    ``\u3000`` and other escaped blanks; two and more ``\u4e2d\u6587`` in a row, and single ones where a document has
    more of them than Han.
    Everywhere: UTF-8 that was read as Latin-1, Windows-1252 or GBK. Expects raw text, before ``normalise``, which
    drops the controls among wrongly read UTF-8.
    """
    text = mend_mojibake(text)
    if "&" in text and _ENTITY.search(text):
        text = text if _SPOKEN_OF.search(text) else outside_code(text, _unescape_entities)
    if "\\u" in text or "\\xa0" in text:
        num_escaped = len(_CHINESE_ESCAPE.findall(text))
        everywhere = num_escaped > len(_HAN.findall(text))
        text = outside_code(text, _unescape_all if everywhere else _unescape_runs)
    return text


def _unescape_entities(text: str) -> str:
    """Unescape until nothing changes; what is still escaped after eight rounds is no crawl's work and stays."""
    mended = text
    for _ in range(_MAX_ROUNDS):
        before = mended
        mended = _ENTITY.sub(_character, _AMPERSANDS.sub("&", before))
        if mended == before:
            return mended
    return text


def _character(match: re.Match[str]) -> str:
    entity = match[0]
    if entity[1] != "#" and entity[1:] not in html5:
        return entity
    character = html.unescape(entity)
    if character in _BLANKS:
        return " "
    # No text are controls and surrogates; the signs of code and tables would shift what counts as such.
    return character if character.isprintable() and character not in "`$|~\ufffd" else entity


def _unescape_runs(text: str) -> str:
    text = _BLANK_ESCAPES.sub(_blank, text)
    return _ESCAPES.sub(_unescaped_chinese, text)


def _unescape_all(text: str) -> str:
    return _ANY_ESCAPE.sub(_unescaped, _BLANK_ESCAPES.sub(_blank, text))


def _blank(match: re.Match[str]) -> str:
    return " " if "3000" in match[0] or "a0" in match[0].lower() else ""


def _unescaped_chinese(match: re.Match[str]) -> str:
    mended = _unescaped(match)
    return mended if all(c >= "\u3000" for c in mended) else match[0]


def _unescaped(match: re.Match[str]) -> str:
    units = bytes.fromhex(match[0].replace("\\u", ""))
    try:
        mended = units.decode("utf-16-be")
    except UnicodeDecodeError:  # a surrogate without its other half
        return match[0]
    return mended if all((c.isprintable() and c >= "\xa0") or c in " \u3000" for c in mended) else match[0]
