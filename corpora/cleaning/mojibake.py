"""UTF-8 that was read in another encoding, read again: only where the repair is certain."""

import re
from typing import Final

_WINDOWS: Final = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_NEXT: Final = f"[\x80-\xbf{_WINDOWS}]"  # a continuation byte, as Latin-1 or Windows-1252 shows it
_LATIN: Final = re.compile(
    # Of Chinese never one character stands alone, while "é…»" ends many a French quotation: two or more.
    rf"(?:[à-ï]{_NEXT}{{2}}){{2,}}"
    rf"|[ðÐ]Ÿ{_NEXT}{{2}}"  # an emoji
    r"|â€[™œ\x9d˜“”¦¢]"  # a curly quote, a dash, an ellipsis, a bullet
    r"|(?<![A-ZÀ-Þ])[ÂÃ][\xa0-\xbf]"  # a Latin letter or sign; after a capital it may be a word's end
)
_LATIN_HINT: Final = re.compile(rf"[à-ïðÂÃ]{_NEXT}")
_GBK_HINTS: Final = ("锛", "銆", "鐨", "鏄", "鎴", "涓€")  # the first bytes of ，。的是我 and of 一
_GBK_RUN: Final = re.compile(r"[\u4e00-\u9fff\ue000-\uf8ff\u3000-\u303f\uff00-\uffef€]{4,}")
_CHINESE: Final = re.compile(r"[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef“”‘’—…·]+")


def mend_mojibake(text: str) -> str:
    """Return the text with UTF-8 that was read as Latin-1, Windows-1252 or GBK decoded again; idempotent.

    A stretch is changed only where its bytes are UTF-8 throughout, which text that was read rightly almost never
    is by chance. What a wrong decoder replaced by ``?`` or U+FFFD is lost and stays.
    """
    if _LATIN_HINT.search(text):
        text = _LATIN.sub(_from_latin, text)
    if any(hint in text for hint in _GBK_HINTS):
        text = _GBK_RUN.sub(_from_gbk, text)
    return text


def _from_latin(match: re.Match[str]) -> str:
    try:
        mended = b"".join(c.encode("latin-1" if c < "\u0100" else "cp1252") for c in match[0]).decode("utf-8")
    except UnicodeError:
        return match[0]
    return mended if mended[0] >= "\xa0" else match[0]


def _from_gbk(match: re.Match[str]) -> str:
    try:
        mended = b"".join(b"\x80" if c == "€" else c.encode("gb18030") for c in match[0]).decode("utf-8")
    except UnicodeError:
        return match[0]
    return mended if _CHINESE.fullmatch(mended) else match[0]
