"""Text that was decoded wrongly or was never text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from corpora.facts import Facts, Reason, figure
from corpora.filters.script_table import CANTONESE
from hanlm.errors import ConfigError
from hanlm.text import HAN_RANGES

_OTHER, _BAD, _COMMON_HAN, _UNCOMMON_HAN, _RARE_HAN, _DISGUISED_HAN, _LEAD, _TAIL = range(8)
_NUM_CLASSES = 8
_MAX_CODE_POINT = 0x110000
_CHARS_PER_CHUNK = 1 << 20
_SHOWN = 5
_PRIVATE = ((0xE000, 0xF8FF), (0xF0000, 0xFFFFD), (0x100000, 0x10FFFD))
# What replacement characters become when read as GBK, what MSVC fills memory with, UTF-8 marks read as Latin-1.
_KNOWN: Final = ("锟斤拷", "烫烫烫烫", "屯屯屯屯", "ï»¿", "ï¿½")
_END_OF_SPACES, _GB2312_SECOND, _BIG5_SECOND = b"\xa0", b"\xd8\xa1", b"\xc9\x40"
# Letters without a break: no word of any language, nor a path, an address, or a name in a program, is so long.
_RUN = re.compile(r"[A-Za-z0-9+]{50,}={0,2}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Garbled:
    """Drops wrongly decoded text and letter salad: reason ``garbled``.

    Shares are of the visible characters, but those of Han of all Han.
    """

    max_bad_share: float = 0.02
    """Largest share of replacement characters, private-use characters and controls."""
    max_known: int = 2
    """Most occurrences of 锟斤拷, 烫烫烫烫, 屯屯屯屯, ï»¿ and ï¿½."""
    max_latin1_share: float = 0.02
    """Largest share of pairs such as Ã© and ä¸: UTF-8 that was read as Latin-1 or Windows-1252."""
    max_rare_han_share: float = 0.1
    """Largest share of Han that neither GB 2312 nor Big5 has."""
    max_uncommon_han_share: float = 0.3
    """Largest share of Han that both, where they have it, list among the less frequent."""
    max_disguised_han_share: float = 0.25
    """Largest share of the Han that the first bytes of UTF-8 make when read as GBK (涓 鏄 鐨)."""
    max_salad_share: float = 0.3
    """Largest share of runs of 50 and more Latin letters and digits without a break, such as Base64."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise ConfigError(f"expected {name} of at least 0, got {getattr(self, name)}.")

    def __call__(self, facts: Facts, /) -> str | None:
        text, num_visible = facts.text, max(1, facts.num_visible)
        if (num_known := sum(map(text.count, _KNOWN))) > self.max_known:
            known = " ".join(each for each in _KNOWN if each in text)
            return Reason("garbled", f"{figure(num_known)} times {known}, limit {figure(self.max_known)}")
        counts, num_pairs = _class_counts(text)
        num_han = max(1, int(counts[_COMMON_HAN : _DISGUISED_HAN + 1].sum()))
        bad, rare, disguised = (int(counts[each]) for each in (_BAD, _RARE_HAN, _DISGUISED_HAN))
        uncommon = int(counts[_UNCOMMON_HAN]) + rare
        for what, count, of, max_share, max_count, classes in (
            ("characters are no text", bad, num_visible, self.max_bad_share, 0, (_BAD,)),
            ("characters pair up as UTF-8 does in Latin-1", num_pairs, num_visible, self.max_latin1_share, 0, (_LEAD,)),
            # A few odd characters in a short text, as in names, are no evidence.
            ("Han are rare", rare, num_han, self.max_rare_han_share, 5, (_RARE_HAN,)),
            ("Han are uncommon", uncommon, num_han, self.max_uncommon_han_share, 8, (_UNCOMMON_HAN, _RARE_HAN)),
            ("Han are as in UTF-8 read as GBK", disguised, num_han, self.max_disguised_han_share, 4, (_DISGUISED_HAN,)),
        ):
            if count > max(max_count, max_share * of):
                found = f"{figure(count / of)} of the {what}, limit {figure(max_share)}"
                return Reason("garbled", f"{found}{_examples(text, classes)}")
        salad = sum(len(run) for run in _RUN.findall(text))
        if salad <= self.max_salad_share * num_visible:
            return None
        share = f"{figure(salad / num_visible)} of the characters run on without a break"
        return Reason("garbled", f"{share}, limit {figure(self.max_salad_share)}")


def _examples(text: str, classes: Sequence[int]) -> str:
    """Return the first different characters of these classes, those that cannot be seen as code points."""
    points = np.frombuffer(text[:_CHARS_PER_CHUNK].encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    found = map(chr, points[np.isin(_table().take(points, mode="clip"), classes)].tolist())
    chars = [char if char.isprintable() else f"U+{ord(char):04X}" for char in islice(dict.fromkeys(found), _SHOWN)]
    return f": {' '.join(chars)}" if chars else ""


def _class_counts(text: str) -> tuple[npt.NDArray[np.int64], int]:
    """Return the number of characters of each class, and of the pairs that UTF-8 makes in Latin-1."""
    table = _table()
    counts = np.zeros(_NUM_CLASSES, dtype=np.int64)
    num_pairs = 0
    for start in range(0, len(text), _CHARS_PER_CHUNK):
        chunk = text[start : start + _CHARS_PER_CHUNK].encode("utf-32-le", "surrogatepass")
        classes = table.take(np.frombuffer(chunk, dtype=np.uint32), mode="clip")
        found = np.bincount(classes, minlength=_NUM_CLASSES)
        counts += found
        if found[_LEAD] and found[_TAIL]:
            num_pairs += int(((classes[:-1] == _LEAD) & (classes[1:] == _TAIL)).sum())
    return counts, num_pairs


@cache
def _table() -> npt.NDArray[np.uint8]:
    table = np.full(_MAX_CODE_POINT, _OTHER, dtype=np.uint8)
    table[:9] = table[0xE:0x20] = table[0x7F:0xA0] = _BAD
    for first, last in (*_PRIVATE, (0xFFF9, 0xFFFF), (0xD800, 0xDFFF)):
        table[first : last + 1] = _BAD
    table[0xFFFC] = _OTHER  # stands for an embedded picture
    for first, last in HAN_RANGES:
        table[first : last + 1] = _RARE_HAN
    for point in (0x3005, 0x3007, *range(0x4E00, 0xA000)):
        table[point] = _frequency_class(chr(point))
    for char in CANTONESE:  # a tenth of what Hong Kong speaks, and in neither encoding
        table[ord(char)] = _COMMON_HAN
    for char in _gbk_of_utf8_leads():
        table[ord(char)] = _DISGUISED_HAN
    table[0xC2:0xF5] = _LEAD
    for byte in range(0x80, 0xC0):
        table[ord(bytes([byte]).decode("cp1252", "replace"))] = _TAIL
        table[byte] = _TAIL
    table[0xFFFD] = _BAD
    return table


def _gbk_of_utf8_leads() -> set[str]:
    """Return what the first two bytes of common Han in UTF-8 become when read as GBK."""
    pairs = (bytes([lead, tail]) for lead in range(0xE4, 0xEA) for tail in range(0x80, 0xC0))
    return {char for pair in pairs if len(char := pair.decode("gbk", "ignore")) == 1}


def _frequency_class(char: str) -> int:
    """Tell by the old encodings: both list the frequent characters first and the others after them."""
    if (
        _END_OF_SPACES < _encoded(char, "gb2312") < _GB2312_SECOND
        or _END_OF_SPACES < _encoded(char, "big5") < _BIG5_SECOND
    ):
        return _COMMON_HAN
    # JIS X 0208 adds the forms of Japan and a few that prints of Chinese classics use.
    return _UNCOMMON_HAN if any(_encoded(char, encoding) for encoding in ("gb2312", "big5", "shift_jis")) else _RARE_HAN


def _encoded(char: str, encoding: str) -> bytes:
    """Return the bytes of a character, or none where the encoding lacks it."""
    return char.encode(encoding, "ignore")
