"""Hashes of the n-grams of a text, and quick tests of which of them are known."""

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from corpora.folding import Codes

type Hashes = npt.NDArray[np.uint64]
type Anchors = npt.NDArray[np.uint32]
type Known = npt.NDArray[np.unsignedinteger[Any]]
type Places = npt.NDArray[np.int64]

_BASE: Final = 0x9E3779B97F4A7C15  # odd, so that multiplying by it loses nothing
_ANCHOR_POWERS: Final = {length: np.uint32(pow(0x9E3779B1, length, 2**32)) for length in (1, 2, 4)}
_ANCHOR_SPREAD: Final = np.uint32(0x85EBCA6B)
_MIN_BITS, _MAX_BITS = 16, 26
_SLOTS_PER_ANCHOR = 16  # one foreign anchor in 16 to 32 passes the slots and costs a look-up


def ngram_hashes(codes: Codes, n: int) -> Hashes:
    """Return the hash of each n-gram, of shape ``[max(0, number of codes - n + 1)]``."""
    return ngram_hashes_at(codes, np.arange(max(0, len(codes) - n + 1)), n)[1]


def ngram_hashes_at(codes: Codes, places: Places, n: int) -> tuple[Places, Hashes]:
    """Return those of the sorted places at which a whole n-gram stands, and its hash: a polynomial modulo 2**64."""
    places = places[: places.searchsorted(len(codes) - n, side="right")]
    ngrams = codes[places[:, None] + np.arange(n)]
    return places, (ngrams * _powers(n)).sum(axis=1, dtype=np.uint64)


@cache
def _powers(n: int) -> Hashes:
    return np.array([pow(_BASE, n - 1 - place, 2**64) for place in range(n)], dtype=np.uint64)


def anchor_hashes(codes: Codes) -> Anchors:
    """Return a short hash of each run of ``ANCHOR`` codes, for a first test of a whole text.

    In 32 bits, which processors multiply by the dozen: a third of the time that 64 take.
    """
    run = codes
    for length in (1, 2, 4):
        joined = run[: max(0, len(run) - length)] * _ANCHOR_POWERS[length]
        joined += run[length:]
        run = joined
    return run * _ANCHOR_SPREAD


class Slots:
    """A table of bits that tells most unknown anchors from the known ones."""

    def __init__(self, anchors: Anchors) -> None:
        bits = int(np.clip(np.ceil(np.log2(max(1, len(anchors)) * _SLOTS_PER_ANCHOR)), _MIN_BITS, _MAX_BITS))
        self._shift = np.uint32(32 - bits)
        self._taken = np.zeros(2**bits, dtype=np.bool_)
        self._taken[anchors >> self._shift] = True

    def places(self, anchors: Anchors) -> Places:
        """Return the places that may hold a known anchor: all that do, and a few that do not."""
        return self._taken.take(anchors >> self._shift, mode="clip").nonzero()[0]


def find_sorted(known: Known, hashes: Known) -> tuple[Places, Places]:
    """Return which of ``hashes`` are among the sorted, distinct ``known`` ones, and the number of each there."""
    if not len(known) or not len(hashes):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    found = known.searchsorted(hashes)
    found[found == len(known)] = 0
    places = (known[found] == hashes).nonzero()[0]
    return places, found[places]


def num_covered_letters(positions: Places, n: int) -> int:
    """Count the letters under n-grams that start at sorted, distinct positions; there is at least one."""
    return int(np.minimum(np.diff(positions), n).sum()) + n
