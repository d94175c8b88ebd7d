"""How many characters of the common character tables are a single token.

The Table of General Standard Chinese Characters (通用规范汉字表) was issued by China's State Council in 2013; the file
in ``tables`` holds its three levels, a line each in the table's own order, after the field kTGH of Unicode's Unihan
database. Big5 and GB 2312 come with Python's codecs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Final

_GENERAL_STANDARD: Final = "tongyong_guifan_hanzi_2013.txt"
_BIG5_LEVEL_1: Final = (0xA440, 0xC67E)
_GB2312_LEVEL_1: Final = (0xB0A1, 0xD7F9)


@dataclass(frozen=True, kw_only=True, slots=True)
class CharacterTable:
    """One level of a standard's characters."""

    key: str
    """Its name in ``vocab_report.json``."""
    title: str
    chars: str


@cache
def character_tables() -> tuple[CharacterTable, ...]:
    """Return the tables that the report counts, everyday characters first."""
    text = files("tokenizer").joinpath("tables", _GENERAL_STANDARD).read_text(encoding="utf-8")
    first, second, third = text.splitlines()
    return (
        CharacterTable(key="general_standard_level_1", title="通用规范汉字表 level 1", chars=first),
        CharacterTable(key="general_standard_level_2", title="通用规范汉字表 level 2", chars=second),
        CharacterTable(key="general_standard_level_3", title="通用规范汉字表 level 3", chars=third),
        CharacterTable(key="gb2312_level_1", title="GB 2312 level 1", chars=_rows("gb2312", _GB2312_LEVEL_1)),
        CharacterTable(key="big5_level_1", title="Big5 level 1", chars=_rows("big5", _BIG5_LEVEL_1)),
    )


def single_tokens(spelling: Mapping[int, bytes]) -> frozenset[str]:
    """Return the characters that some token spells alone."""
    # A character of UTF-8 has at most 4 bytes.
    short = (spelled.decode("utf-8", "replace") for spelled in spelling.values() if len(spelled) <= 4)
    return frozenset(char for char in short if len(char) == 1)


def coverage(chars: Iterable[str]) -> dict[str, int]:
    """Return by key of each table how many of its characters are among ``chars``."""
    known = frozenset(chars)
    return {table.key: len(known.intersection(table.chars)) for table in character_tables()}


def _rows(codec: str, bounds: tuple[int, int]) -> str:
    """Return the characters between two codes of a double-byte codec, in order."""
    first, last = bounds
    codes = [high << 8 | low for high, low in product(range(first >> 8, (last >> 8) + 1), range(0x40, 0xFF))]
    decoded = (code.to_bytes(2).decode(codec, "ignore") for code in codes if first <= code <= last)
    return "".join(char for char in decoded if len(char) == 1 and ord(char) > 0x7F)
