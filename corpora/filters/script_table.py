"""Which writing standard a character tells of: one code per code point, derived from opencc and the old encodings.

A Chinese character is evidence only where one standard has it and the others do not. GB 2312 is the repertoire of
Simplified, Big5 of Traditional, JIS X 0208 of Japanese; opencc tells which of their characters are forms of others.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from hanlm.text import HAN_RANGES

CANTONESE: Final = "嘅咗喺哋嚟唔冇佢啲嗰乜噉咁嘢㗎攞瞓嘥嗮啱睇諗揾搵畀冚喐谂"
"""Characters of written Cantonese that written Mandarin hardly uses, in both scripts."""

NEUTRAL: Final = 0
LATIN: Final = 1
KANA: Final = 2
HANGUL: Final = 3
OTHER_LETTER: Final = 4
BOPOMOFO: Final = 5
HAN: Final = 6
"""First of the six codes of Han: common, Simplified or Traditional only; 3 more where JIS X 0208 lacks it."""
HAN_JAPANESE: Final = 12
"""A form that Japan alone uses (沢 駅 働)."""
FIRST_CANTONESE: Final = 13
"""The code of ``CANTONESE[0]``; the others follow."""
NUM_CODES: Final = FIRST_CANTONESE + len(CANTONESE)

COMMON, SIMPLIFIED, TRADITIONAL = 0, 1, 2
NOT_IN_JIS: Final = 3
"""Added to the code of a Han character that JIS X 0208 lacks (这 你 們)."""

_MAX_CODE_POINT = 0x110000
# Characters made in Japan; opencc lists none, since they are variants of nothing.
_MADE_IN_JAPAN = "込働畑枠峠辻栃匂喰噺雫笹"
# Cantonese in Traditional writes it in its own sense.
_NOT_SIMPLIFIED_ALONE = "吓"
_KANA = ((0x3041, 0x3096), (0x30A1, 0x30FA), (0x31F0, 0x31FF), (0xFF66, 0xFF6F), (0xFF71, 0xFF9D))
_HANGUL = ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xAC00, 0xD7A3), (0xD7B0, 0xD7FB))
_BOPOMOFO = ((0x3105, 0x312F), (0x31A0, 0x31BF))
_BASIC_PLANE_LETTERS = ((0x41, 0x2FFF), (0xA000, 0xABFF), (0xFB00, 0xFDFF), (0xFE70, 0xFEFE), (0xFF21, 0xFF5A))


@cache
def script_table() -> npt.NDArray[np.uint8]:
    """Return the code of every code point; built once a process, in about 0.3 seconds."""
    import unicodedata

    table = np.full(_MAX_CODE_POINT, NEUTRAL, dtype=np.uint8)
    for first, last in _BASIC_PLANE_LETTERS:
        for point in range(first, last + 1):
            if chr(point).isalpha():
                is_latin = "LATIN" in unicodedata.name(chr(point), "")
                table[point] = LATIN if is_latin else OTHER_LETTER
    for ranges, code in ((_KANA, KANA), (_HANGUL, HANGUL), (_BOPOMOFO, BOPOMOFO)):
        for first, last in ranges:
            table[first : last + 1] = code
    for first, last in HAN_RANGES:
        table[first : last + 1] = HAN + NOT_IN_JIS
    table[[ord("々"), ord("〇")]] = HAN
    for char, code in zip(_unified(), _han_codes(_unified()), strict=True):
        table[ord(char)] = code
    for number, char in enumerate(CANTONESE):
        table[ord(char)] = FIRST_CANTONESE + number
    return table


def _unified() -> list[str]:
    return [chr(point) for first, last in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF)) for point in range(first, last + 1)]


def _han_codes(chars: list[str]) -> list[int]:
    converted = zip(chars, _each("t2s", chars), _each("s2t", chars), _each("jp2t", chars), strict=True)
    return [_han_code(*row) for row in converted]


def _han_code(char: str, to_simplified: str, to_traditional: str, from_japanese: str) -> int:
    in_gb, in_big5, in_jis = (_has(char, encoding) for encoding in ("gb2312", "big5", "euc_jp"))
    if in_jis and not in_gb and not in_big5 and (from_japanese != char or char in _MADE_IN_JAPAN):
        return HAN_JAPANESE
    side = COMMON
    if char in _NOT_SIMPLIFIED_ALONE:
        pass
    elif in_gb and not in_big5 and to_traditional != char and to_simplified == char:
        side = SIMPLIFIED
    elif in_big5 and not in_gb and to_simplified != char:
        side = TRADITIONAL
    return HAN + side + (0 if in_jis else NOT_IN_JIS)


def _each(config: str, chars: list[str]) -> list[str]:
    """Convert characters one by one: the line ends between them keep opencc from reading words."""
    import opencc

    return opencc.OpenCC(config).convert("\n".join(chars)).split("\n")


def _has(char: str, encoding: str) -> bool:
    try:
        # Two bytes in each: EUC-JP spells what JIS X 0212 adds with three.
        return len(char.encode(encoding)) == 2
    except UnicodeEncodeError:
        return False
