"""Characters and text: Han ranges, character classes, normalisation, and the split by content."""

import hashlib
import re
import unicodedata
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

HAN_RANGES: Final[tuple[tuple[int, int], ...]] = (
    (0x3005, 0x3005),  # 々
    (0x3007, 0x3007),  # 〇
    (0x3400, 0x4DBF),  # extension A
    (0x4E00, 0x9FFF),  # unified ideographs
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0x20000, 0x2A6DF),  # extension B
    (0x2A700, 0x2EE5F),  # extensions C to F, and I
    (0x2F800, 0x2FA1F),  # compatibility supplement
    (0x30000, 0x3347F),  # extensions G, H and J
)
"""Inclusive code point ranges that count as Han."""

HAN_CLASS: Final = "".join(f"{chr(first)}-{chr(last)}" for first, last in HAN_RANGES)
"""The Han ranges as the inside of a regular expression's character class."""

HAN_PATTERN: Final = re.compile(f"[{HAN_CLASS}]")
"""Matches one Han character."""

CJK_PUNCTUATION: Final = frozenset(
    "，。、；：？！（）《》〈〉\u2329\u232a「」『』【】〔〕〖〗［］｛｝＂＇＃＄％＆＊＋－．／＜＝＞＠＼＾＿｀｜～￥￠￡＿〃〜〝〞〟﹏﹑﹔﹕﹖﹗﹙﹚﹛﹜﹝﹞"
)
"""Strong punctuation: signs that only Chinese, Japanese or Korean text uses, full-width forms among them, and the two
that NFC turns into such (U+2329 and U+232A become 〈〉)."""

WEAK_PUNCTUATION: Final = frozenset("“”‘’—…·")
"""Signs that Chinese text shares with other scripts."""

CHAR_CLASSES: Final = ("han", "latin", "digit", "punctuation", "space", "other")
"""The names that ``class_counts`` reports, in the order of its table's codes."""

_MAX_CODE_POINT = 0x110000
_IDEOGRAPHIC_INDENT = re.compile("(?m)^\u3000+")
_TRAILING_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)
_MANY_BLANK_LINES = re.compile(r"\n{4,}")
_LINE_ENDS = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
# Controls but tab and newline, zero-width space, word joiner, byte order mark, and the noncharacters that end
# the basic plane. Joiners (U+200C, U+200D) stay: Indic scripts and emoji are spelled with them.
_DROPPED_CLASS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u2060\ufeff\ufffe\uffff"
_DROPPED = re.compile(f"[{_DROPPED_CLASS}]+")
_WIDTH_CLASS = "\u3000\xa0０-９Ａ-Ｚａ-ｚ"
_OTHER_WIDTHS = re.compile(f"[{_WIDTH_CLASS}]")
_IRREGULAR = re.compile(f"[\r\v\f\x85\u2028\u2029{_DROPPED_CLASS}{_WIDTH_CLASS}]")


def is_han(char: str) -> bool:
    """Say whether one character is Han (a Chinese character, not punctuation)."""
    return HAN_PATTERN.match(char) is not None


MIN_HAN_RATIO = 0.3
"""Share of Han from which a text is taken for Chinese."""


def base_language(tag: str) -> str:
    """Return the language of a tag, without its script and region: ``zh`` for ``zh-Hant`` and for ``zh_CN``."""
    return tag.replace("_", "-").partition("-")[0].lower()


def class_counts(text: str) -> dict[str, int]:
    """Count a text's characters by class; the keys are ``CHAR_CLASSES``."""
    counts = np.bincount(_char_codes(text), minlength=len(CHAR_CLASSES))
    return {name: int(count) for name, count in zip(CHAR_CLASSES, counts, strict=True)}


def han_ratio(text: str) -> float:
    """Return the share of Han among a text's characters other than white space; 0.0 if there are none."""
    counts = np.bincount(_char_codes(text), minlength=len(CHAR_CLASSES))
    visible = int(counts.sum()) - int(counts[CHAR_CLASSES.index("space")])
    return int(counts[CHAR_CLASSES.index("han")]) / visible if visible else 0.0


def normalise(text: str) -> str:
    """Bring a text to the one form that corpora hold and hashes are taken of; idempotent.

    Line ends become ``\\n``; controls, NUL, byte order marks and zero-width spaces go; full-width letters and
    digits become ASCII and the no-break and ideographic space a space, while Chinese full-width punctuation
    stays; the ideographic indent of a paragraph goes; then NFC; blanks at line ends go, and of more than two
    blank lines in a row two stay.
    """
    # Most texts need none of the replacements, and asking first is 4 times faster than replacing blindly.
    if _IRREGULAR.search(text):
        text = _DROPPED.sub("", _LINE_ENDS.sub("\n", text))
        text = _OTHER_WIDTHS.sub(_ascii_width, _IDEOGRAPHIC_INDENT.sub("", text))
    text = unicodedata.normalize("NFC", text)
    if " \n" in text or "\t\n" in text:
        text = _TRAILING_BLANKS.sub("", text)
    if "\n\n\n\n" in text:
        text = _MANY_BLANK_LINES.sub("\n\n\n", text)
    return _without_outer_blanks(text)


def content_digest(normalised: str) -> bytes:
    """Return the SHA-256 of an already normalised text: its identity for deduplication and splits."""
    return hashlib.sha256(normalised.encode("utf-8", "surrogatepass")).digest()


def digest_in_valid_split(digest: bytes, fraction: float) -> bool:
    """Say whether a document with this ``content_digest`` is held out; see ``in_valid_split``."""
    return int.from_bytes(digest[:4], "big") / 2**32 < fraction


def in_valid_split(text: str, fraction: float) -> bool:
    """Say whether a text belongs to the held-out ``fraction`` of all texts.

    The answer hangs on the normalised content alone, so every stage, run and machine agrees on what is held
    out.
    """
    return digest_in_valid_split(content_digest(normalise(text)), fraction)


def _ascii_width(match: re.Match[str]) -> str:
    char = match[0]
    return " " if char in "\u3000\xa0" else chr(ord(char) - 0xFEE0)


def _without_outer_blanks(text: str) -> str:
    """Drop blank lines before the text and every blank after it; the first line keeps its indent."""
    text = text.rstrip(" \t\n")
    body = text.lstrip(" \t\n")
    indent = text[: len(text) - len(body)].rpartition("\n")[2]
    return indent + body


def _char_codes(text: str) -> npt.NDArray[np.uint8]:
    code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return _class_table()[code_points]


@cache
def _class_table() -> npt.NDArray[np.uint8]:
    """One class code per code point: a table look-up counts 200 MB/s, a regular expression about a tenth."""
    code = {name: index for index, name in enumerate(CHAR_CLASSES)}
    table = np.full(_MAX_CODE_POINT, code["other"], dtype=np.uint8)
    for point in range(0x3100):  # every script with its own spaces and digits that a report tells apart lies here
        table[point] = code[_class_of(chr(point))]
    for point in range(0xFE10, 0x10000):
        table[point] = code[_class_of(chr(point))]
    for first, last in HAN_RANGES:
        table[first : last + 1] = code["han"]
    return table


def _class_of(char: str) -> str:
    category = unicodedata.category(char)
    if char.isspace() or category[0] == "Z":
        return "space"
    if category == "Nd":
        return "digit"
    if category[0] == "P" or category in {"Sk", "Sm", "Sc", "So"} or char in CJK_PUNCTUATION:
        return "punctuation"
    return "latin" if "LATIN" in unicodedata.name(char, "") else "other"
