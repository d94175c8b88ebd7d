"""Text folded for comparison: case, width and script do not count; one code point becomes one code point or none."""

import unicodedata
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from hanlm.text import HAN_RANGES, is_han

type Codes = npt.NDArray[np.uint32]

_MAX_CODE_POINT: Final = 0x110000
_SCRIPTS_END: Final = 0x20000  # beyond lie Han, emoji's tags and private use


def folded(text: str) -> Codes:
    """Return one code a character: lower case, half width, Simplified; signs and blanks stay themselves."""
    return _tables()[0].take(_code_points(text), mode="clip")


def folded_letters(text: str) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Return the folded letters and digits alone, and the place of each in the text."""
    codes = _tables()[1].take(_code_points(text), mode="clip")
    places = codes.nonzero()[0]
    return codes.take(places), places


def to_text(codes: Codes) -> str:
    """Return the text that codes spell."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _code_points(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


@cache
def _tables() -> tuple[Codes, Codes]:
    """Return what each code point folds to, and the same with 0 for what is neither letter nor digit."""
    table = np.arange(_MAX_CODE_POINT, dtype=np.uint32)
    is_letter = np.zeros(_MAX_CODE_POINT, dtype=np.bool_)
    for point in range(_SCRIPTS_END):
        char = chr(point)
        if char.isalnum():
            is_letter[point] = True
            if not is_han(char):
                table[point] = _fold(char)
    for first, last in HAN_RANGES:
        is_letter[first : last + 1] = True
    han = [chr(point) for first, last in HAN_RANGES for point in range(first, last + 1)]
    table[[ord(char) for char in han]] = [ord(char[0]) for char in _simplified(han)]
    letters = np.where(is_letter, table, 0).astype(np.uint32)
    return table, letters


def _fold(char: str) -> int:
    for candidate in (unicodedata.normalize("NFKC", char).casefold(), char.lower(), char):
        if len(candidate) == 1 and candidate.isalnum():
            return ord(candidate)
    return ord(char)


def _simplified(chars: list[str]) -> list[str]:
    """Convert one by one: the line ends between them keep opencc from reading words."""
    import opencc

    return opencc.OpenCC("t2s").convert("\n".join(chars)).split("\n")
