"""Compiled scoring: hashed n-grams of characters, and probabilities after Kneser and Ney."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hanlm.jit import entry_jit, inner_jit

NUM_FEATURES = 1 << 18
"""Slots of the hashed n-grams: 1 MB of weights, which stays in the second cache."""
NUM_ORDERS = 3
"""Single characters, pairs and triples."""

_FIRST, _SECOND, _THIRD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_TO_SLOT = np.uint64(64 - 18)
_CHAR_BITS = np.uint64(21)
_ONE = np.uint64(1)


@entry_jit
def feature_slots(points: npt.NDArray[np.uint32], slots: npt.NDArray[np.int32]) -> None:
    """Fill in the slots of the n-grams that end at each character, ``NUM_ORDERS`` for each."""
    before, last = np.uint64(0), np.uint64(0)
    for place in range(len(points)):
        char = np.uint64(points[place]) + _ONE
        for order in range(3):
            slots[3 * place + order] = _feature_slot(before, last, char, order)
        before, last = last, char


@entry_jit
def sum_weights(points: npt.NDArray[np.uint32], weights: npt.NDArray[np.float32]) -> float:
    """Return the sum of the weights of all n-grams."""
    total: Any = 0.0
    before, last = np.uint64(0), np.uint64(0)
    for place in range(len(points)):
        char = np.uint64(points[place]) + _ONE
        for order in range(3):
            total += weights[_feature_slot(before, last, char, order)]
        before, last = last, char
    return total


@inner_jit
def _feature_slot(before: np.uint64, last: np.uint64, char: np.uint64, order: int) -> Any:
    code = (char + np.uint64(order) * _SECOND) * _FIRST
    if order > 0:
        code = (code ^ (code >> np.uint64(29)) ^ last) * _SECOND
    if order > 1:
        code = (code ^ (code >> np.uint64(31)) ^ before) * _THIRD
    return np.int64(code >> _TO_SLOT)


@entry_jit
def fill_table(keys: npt.NDArray[np.uint64], table: npt.NDArray[np.int32]) -> None:
    """Put each key's index plus one into the table, a power of two and at least twice as many as the keys."""
    table[:] = 0
    for index in range(len(keys)):
        slot = _key_slot(keys[index], table)
        while table[slot]:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = index + 1


@entry_jit
def sum_bits(
    ids: npt.NDArray[np.int32],
    singles: npt.NDArray[np.float64],
    keys: npt.NDArray[np.uint64],
    values: npt.NDArray[np.float64],
    table: npt.NDArray[np.int32],
) -> float:
    """Return the code length of a text in bits.

    Args:
        ids: The characters' numbers.
        singles: By number the probability of a character, and what is left after it for the lower order; the last
            number stands for the start of a text, and two of it before each text.
        keys: Pairs and triples of numbers, as ``ngram_key`` writes them.
        values: Of each key the discounted share of its last character after the others, and what is left after it
            for the lower order.
        table: Where ``fill_table`` put the keys.
    """
    bits = 0.0
    start = len(singles) - 1
    before, last = start, start
    left = values[_find(ngram_key(0, start + 1, start + 1), keys, table), 1]
    for place in range(len(ids)):
        char = int(ids[place])
        pair = _find(ngram_key(0, last + 1, char + 1), keys, table)
        probability = singles[char, 0] * singles[last, 1]
        if pair >= 0:
            probability += values[pair, 0]
        probability *= left
        triple = _find(ngram_key(before + 1, last + 1, char + 1), keys, table)
        if triple >= 0:
            probability += values[triple, 0]
        bits -= math.log2(probability)
        before, last = last, char
        left = values[pair, 1] if pair >= 0 else 1.0
    return bits


@inner_jit
def ngram_key(before: int, last: int, char: int) -> Any:
    """Return 21 bits for each of three numbers, the first 0 in a pair."""
    return (np.uint64(before) << _CHAR_BITS | np.uint64(last)) << _CHAR_BITS | np.uint64(char)


@inner_jit
def _find(key: Any, keys: npt.NDArray[np.uint64], table: npt.NDArray[np.int32]) -> Any:
    """Return the key's index, or -1."""
    slot = _key_slot(key, table)
    while table[slot]:
        index = table[slot] - 1
        if keys[index] == key:
            return index
        slot = (slot + 1) & (len(table) - 1)
    return -1


@inner_jit
def _key_slot(key: Any, table: npt.NDArray[np.int32]) -> Any:
    mixed = (key ^ (key >> np.uint64(23))) * _FIRST
    return np.int64(mixed >> np.uint64(32)) & (len(table) - 1)
