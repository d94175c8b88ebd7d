"""What new pieces may hold: strong, weak and separating characters.

Every new piece holds at least one strong character (Han, or punctuation that only CJK text uses), so text
without one keeps the base tokenizer's ids. Weak characters (a real space, quotes and dashes that other scripts
share, the newline) may stand beside strong ones. Everything else separates: digits, Latin, tabs.
"""

import re
from functools import cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from hanlm.text import CJK_PUNCTUATION, HAN_CLASS, HAN_RANGES, WEAK_PUNCTUATION

type Pieces = Literal["han", "han+punct", "han+punct+space"]

SPACE: Final = "\u2581"
"""SentencePiece's sign for a space; a literal U+2581 in a text is a separator, never taken for one."""

NEWLINE: Final = "\n"
"""Ends a run of Chinese: `。` and the line end are one piece, but nothing reaches into the next line, so that the
distinct segments stay few."""

SEPARATOR, WEAK, STRONG = 0, 1, 2

_STRONG_CHAR = re.compile(f"[{HAN_CLASS}{re.escape(''.join(sorted(CJK_PUNCTUATION)))}]")


def has_strong(text: str) -> bool:
    """Say whether a text holds Han or CJK-only punctuation; without any, its ids must never change."""
    return _STRONG_CHAR.search(text) is not None


@cache
def class_table(pieces: Pieces) -> npt.NDArray[np.uint8]:
    """Return SEPARATOR, WEAK or STRONG for every code point."""
    table = np.zeros(0x110000, dtype=np.uint8)
    for first, last in HAN_RANGES:
        table[first : last + 1] = STRONG
    if pieces != "han":
        table[[ord(c) for c in CJK_PUNCTUATION]] = STRONG
        table[[ord(c) for c in WEAK_PUNCTUATION]] = WEAK
    if pieces == "han+punct+space":
        table[[ord(SPACE), ord(NEWLINE)]] = WEAK
    return table


@cache
def segment_pattern(pieces: Pieces) -> re.Pattern[str]:
    """Match the runs of raw text that new pieces are learned from; a weak tail is the caller's to cut.

    A run starts with a strong character and at most one weak one before it, which keeps the search linear
    on long runs of spaces.
    """
    strong, weak, end = HAN_CLASS, "", ""
    if pieces != "han":
        strong += re.escape("".join(sorted(CJK_PUNCTUATION)))
        weak += re.escape("".join(sorted(WEAK_PUNCTUATION)))
    if pieces == "han+punct+space":
        weak, end = weak + " ", f"{NEWLINE}*"
    return re.compile(f"[{weak}]?[{strong}][{strong}{weak}]*{end}" if weak else f"[{strong}]+")


def segments(text: str, pieces: Pieces) -> list[str]:
    """Return the runs of a text that new pieces are learned from, a space written as U+2581.

    A weak character after the last strong one belongs to what follows (the base has `▁word`, `”.`), so it is
    cut off, unless the line ends there.
    """
    found = segment_pattern(pieces).findall(text)
    if pieces == "han":
        return found
    tail = "".join(WEAK_PUNCTUATION) + " "
    return [(run if run[-1] == NEWLINE else run.rstrip(tail)).replace(" ", SPACE) for run in found]
