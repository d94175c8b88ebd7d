"""Compiled counting of n-grams of words.

A word is a span of ``points`` from ``offsets[i]`` to ``offsets[i + 1]``, and n-grams are told apart by content,
never by hash alone, so the counts are exact. Tables are open addressing with linear probing: int32 slots, a power of
two and at least twice as many as there are words; a slot holds a place plus one, zero is empty.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from hanlm.jit import entry_jit, inner_jit

type Points = npt.NDArray[np.uint32]
type Places = npt.NDArray[np.int32]
type Hashes = npt.NDArray[np.uint64]

_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(32)


@entry_jit
def keep_visible(
    points: Points, lengths: Places, kinds: npt.NDArray[np.uint8], visible: Points, offsets: Places
) -> int:
    """Fill in the points and offsets of the words that do not start with white space; return how many they are."""
    start, num_words, num_visible = 0, 0, 0
    offsets[0] = 0
    for length in lengths:
        if not kinds[points[start]] & 4:
            for place in range(start, start + length):
                visible[num_visible] = points[place]
                num_visible += 1
            num_words += 1
            offsets[num_words] = num_visible
        start += length
    return num_words


@entry_jit
def count_kinds(points: Points, offsets: Places, kinds: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """Return how many words are not all punctuation, how many characters these have, and how many words have a
    letter."""
    num_words, num_chars, num_letters = 0, 0, 0
    for word in range(len(offsets) - 1):
        seen = np.uint8(0)
        for place in range(offsets[word], offsets[word + 1]):
            seen |= kinds[points[place]]
        if seen & 1:
            num_words += 1
            num_chars += offsets[word + 1] - offsets[word]
        if seen & 2:
            num_letters += 1
    return num_words, num_chars, num_letters


@entry_jit
def hash_prefixes(points: Points, prefixes: Hashes, powers: Hashes) -> None:
    """Fill in the polynomial hash of each prefix, and the base's powers; both are one longer than ``points``."""
    prefixes[0], powers[0] = np.uint64(0), np.uint64(1)
    for place in range(len(points)):
        prefixes[place + 1] = prefixes[place] * _BASE + np.uint64(points[place]) + np.uint64(1)
        powers[place + 1] = powers[place] * _BASE


@entry_jit
def name_words(
    points: Points, offsets: Places, prefixes: Hashes, powers: Hashes, table: Places, ids: Places, hashes: Hashes
) -> None:
    """Fill in for each word the place of its first occurrence."""
    table[:] = 0
    for word in range(len(ids)):
        start, end = int(offsets[word]), int(offsets[word + 1])
        hashes[word] = _span_hash(prefixes, powers, start, end)
        slot = _slot(hashes[word], table)
        while True:
            first = table[slot] - 1
            if first < 0:
                table[slot] = word + 1
                ids[word] = word
                break
            if hashes[first] == hashes[word] and _spans_equal(points, offsets[first], offsets[first + 1], start, end):
                ids[word] = first
                break
            slot = (slot + 1) & (len(table) - 1)


@entry_jit
def top_chars(n: int, ids: Places, offsets: Places, table: Places, hashes: Hashes, counts: Places) -> int:
    """Return the characters of the most frequent n-gram, one blank between its words, times its occurrences.

    Of equally frequent ones the first counts, as with ``Counter.most_common``. 0 where there are fewer than n words.
    """
    table[:] = 0
    num_places = len(ids) - n + 1
    for place in range(num_places):
        code = np.uint64(0)
        for word in range(place, place + n):
            code = (code + np.uint64(ids[word]) + np.uint64(1)) * _BASE
            code ^= code >> _SHIFT
        hashes[place], counts[place] = code, 0
        slot = _slot(code, table)
        while True:
            first = table[slot] - 1
            if first < 0:
                table[slot] = place + 1
                counts[place] = 1
                break
            if hashes[first] == code and _words_equal(ids, first, place, n):
                counts[first] += 1
                break
            slot = (slot + 1) & (len(table) - 1)
    top = 0
    for place in range(num_places):
        if counts[place] > counts[top]:
            top = place
    return counts[top] * (offsets[top + n] - offsets[top] + n - 1) if num_places > 0 else 0


@entry_jit
def repeated_chars(
    n: int, points: Points, offsets: Places, prefixes: Hashes, powers: Hashes, table: Places, hashes: Hashes
) -> int:
    """Return the characters in n-grams that occurred before, no character counted twice.

    An n-gram is what its words spell together, wherever they are cut.
    """
    table[:] = 0
    num_chars, place = 0, 0
    while place < len(offsets) - n:
        start, end = int(offsets[place]), int(offsets[place + n])
        hashes[place] = _span_hash(prefixes, powers, start, end)
        slot = _slot(hashes[place], table)
        while True:
            first = table[slot] - 1
            if first < 0:
                table[slot] = place + 1
                place += 1
                break
            if hashes[first] == hashes[place] and _spans_equal(points, offsets[first], offsets[first + n], start, end):
                num_chars += end - start
                place += n
                break
            slot = (slot + 1) & (len(table) - 1)
    return num_chars


@inner_jit
def _span_hash(prefixes: Hashes, powers: Hashes, start: int, end: int) -> np.uint64:
    return prefixes[end] - prefixes[start] * powers[end - start]


@inner_jit
def _slot(code: np.uint64, table: Places) -> np.int64:
    mixed = (code ^ (code >> _SHIFT)) * _MIX
    return np.int64(mixed >> _SHIFT) & (len(table) - 1)


@inner_jit
def _spans_equal(points: Points, start: Any, end: Any, other: int, other_end: int) -> bool:
    if end - start != other_end - other:
        return False
    for step in range(end - start):  # noqa: SIM110  (compiled: there is no `all` over a generator)
        if points[start + step] != points[other + step]:
            return False
    return True


@inner_jit
def _words_equal(ids: Places, place: int, other: int, n: int) -> bool:
    for step in range(n):  # noqa: SIM110
        if ids[place + step] != ids[other + step]:
            return False
    return True
