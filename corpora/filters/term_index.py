"""Many terms looked for in a text at once, by hashes of every length that a term has."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from corpora.folding import Codes, folded

_BASE: Final = np.uint64(0x9E3779B97F4A7C15)
_SPREAD: Final = np.uint64(0xD6E8FEB86659FD93)
_MAX_LENGTH: Final = 12
"""Longer terms are looked for by their first letters and then compared."""
_MIN_BITS, _MAX_BITS = 14, 24
_SLOTS_PER_TERM = 16


class TermIndex:
    """Finds terms, whatever their case, width and script; a term in Latin letters has to stand as a word of its own.

    50,000 terms cost as much time as 500: for each length that a term has, one multiplication and one look-up a
    character.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        self.terms = tuple(dict.fromkeys(term for raw in terms if (term := raw.strip())))
        self._codes = [folded(term) for term in self.terms]
        self._by_length: list[_OneLength] = []
        lengths = np.array([min(len(codes), _MAX_LENGTH) for codes in self._codes], dtype=np.int64)
        for length in sorted(set(lengths.tolist())):
            numbers = np.flatnonzero(lengths == length)
            self._by_length.append(_OneLength(length, numbers, [self._codes[number] for number in numbers]))

    def counts(self, text: str) -> dict[int, int]:
        """Return how often each term that occurs does, by its number in ``terms``; overlaps count each."""
        counts: dict[int, int] = {}
        codes = folded(text)
        hashes, done = codes.astype(np.uint64), 1
        for one in self._by_length:
            while done < one.length and len(hashes):
                hashes = hashes[:-1] * _BASE
                hashes += codes[done:]
                done += 1
            for place, number in one.find(hashes):
                if self._stands_at(codes, place, self._codes[number]):
                    counts[number] = counts.get(number, 0) + 1
        return counts

    def _stands_at(self, codes: Codes, place: int, term: Codes) -> bool:
        end = place + len(term)
        if end > len(codes) or not np.array_equal(codes[place:end], term):
            return False
        joined_before = place > 0 and _is_word(int(term[0])) and _is_word(int(codes[place - 1]))
        joined_after = end < len(codes) and _is_word(int(term[-1])) and _is_word(int(codes[end]))
        return not (joined_before or joined_after)


class _OneLength:
    """The terms of one length."""

    def __init__(self, length: int, numbers: npt.NDArray[np.int64], terms: list[Codes]) -> None:
        self.length = length
        hashes = np.array([_hash(term[:length]) for term in terms], dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._numbers = hashes[order], numbers[order]
        bits = int(np.clip(np.ceil(np.log2(len(terms) * _SLOTS_PER_TERM)), _MIN_BITS, _MAX_BITS))
        self._shift = np.uint64(64 - bits)
        self._taken = np.zeros(2**bits, dtype=np.bool_)
        self._taken[(hashes * _SPREAD >> self._shift).view(np.int64)] = True

    def find(self, hashes: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
        """Return (place, number of the term) wherever the hashes agree."""
        slots = (hashes * _SPREAD >> self._shift).view(np.int64)
        places = self._taken.take(slots).nonzero()[0]
        first = self._hashes.searchsorted(hashes[places], side="left")
        last = self._hashes.searchsorted(hashes[places], side="right")
        return [
            (int(places[k]), int(self._numbers[row]))
            for k in (first < last).nonzero()[0]
            for row in range(first[k], last[k])
        ]


def _hash(codes: Codes) -> int:
    value = 0
    for code in codes.tolist():
        value = (value * int(_BASE) + code) % 2**64
    return value


def _is_word(code: int) -> bool:
    """Say whether a folded character is a Latin letter or a digit: what makes words by standing together."""
    return code < 0x250 and chr(code).isalnum()
