"""Hashes of all n-grams of a text, and quick tests of which of them are known."""

from typing import Final

import numpy as np
import numpy.typing as npt

from corpora.folding import Codes

type Hashes = npt.NDArray[np.uint64]

_BASE: Final = 0x9E3779B97F4A7C15  # odd, so that multiplying by it loses nothing
_MASK: Final = 2**64 - 1
_MIN_BITS, _MAX_BITS = 16, 27
_SLOTS_PER_HASH = 32  # one foreign n-gram in 32 passes the filter and costs a look-up


def ngram_hashes(codes: Codes, n: int) -> Hashes:
    """Return the hash of each n-gram, of shape ``[max(0, len(codes) - n + 1)]``.

    A polynomial in the codes modulo 2**64, built by doubling the length: 5 passes over the text for n = 13, not 13.
    """
    if len(codes) < n:
        return np.zeros(0, dtype=np.uint64)
    power, length = codes.astype(np.uint64), 1
    power = power * np.uint64(_BASE) ^ (power >> np.uint64(7))
    result: Hashes | None = None
    result_length = 0
    rest = n
    while rest:
        if rest & 1:
            result = power if result is None else _joined(power, length, result, result_length)
            result_length += length
        rest >>= 1
        if rest:
            power, length = _joined(power, length, power, length), 2 * length
    assert result is not None
    return _mixed(result[: len(codes) - n + 1])


class HashFilter:
    """Known hashes: a table of bits tells most foreign ones at once, a binary search the rest."""

    def __init__(self, hashes: Hashes) -> None:
        """Take sorted, distinct hashes."""
        self._hashes = hashes
        bits = int(np.clip(np.ceil(np.log2(max(1, len(hashes)) * _SLOTS_PER_HASH)), _MIN_BITS, _MAX_BITS))
        self._shift = np.uint64(64 - bits)
        self._slots = np.zeros(2**bits, dtype=np.bool_)
        self._slots[hashes >> self._shift] = True

    def find(self, hashes: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the places in ``hashes`` that hold a known hash, and which known one stands at each."""
        places = np.flatnonzero(self._slots[hashes >> self._shift])
        if not len(places):
            return places, places
        found = np.searchsorted(self._hashes, hashes[places])
        found[found == len(self._hashes)] = 0
        known = self._hashes[found] == hashes[places]
        return places[known], found[known]


def _joined(left: Hashes, left_length: int, right: Hashes, right_length: int) -> Hashes:
    """Return the hashes of grams of the joint length: a left one followed by a right one."""
    num = len(left) - right_length
    shifted = left[:num] * np.uint64(pow(_BASE, right_length, _MASK + 1))
    shifted += right[left_length : left_length + num]
    return shifted


def _mixed(hashes: Hashes) -> Hashes:
    """Spread what the last characters say over the high bits, which choose the slot."""
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(0xD6E8FEB86659FD93)
    hashes ^= hashes >> np.uint64(32)
    return hashes
