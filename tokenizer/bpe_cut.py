"""The compiled part of cutting at rare pairs: sums by pair, and the runs between cuts."""

from typing import Any

import numpy as np

from hanlm.jit import entry_jit, inner_jit
from tokenizer.bpe_kernels import find, string_hash

_MIX = np.uint64(0xFF51AFD7ED558CCD)


@inner_jit
def bucket(sums: Any, left: Any, right: Any) -> Any:
    """Return where a pair of symbols is summed; pairs that meet there only seem more frequent than they are."""
    key = (np.uint64(left) << np.uint64(32) | np.uint64(right)) * _MIX
    return np.int64((key ^ (key >> np.uint64(31))) * _MIX >> np.uint64(20)) & (sums.size - 1)


@entry_jit
def sum_pairs(text: Any, weight: Any, sums: Any) -> None:
    """Add the weight of each pair of neighbours to its bucket.

    Args:
        text: [positions] symbols, 0 at barriers.
        weight: [positions] of the segment, 0 or more.
        sums: [a power of two]
    """
    for p in range(1, text.size):
        if text[p - 1] != 0 and text[p] != 0:
            sums[bucket(sums, text[p - 1], text[p])] += weight[p]


@entry_jit
def keep_pairs(text: Any, sums: Any) -> None:
    """Make each pair of neighbours of a text more frequent than any could be."""
    for p in range(1, text.size):
        if text[p - 1] != 0 and text[p] != 0:
            sums[bucket(sums, text[p - 1], text[p])] = np.int64(1) << 62


@entry_jit
def cut_runs(text: Any, sums: Any, least: Any, places: Any, keys: Any) -> Any:
    """Find the runs that neither a barrier nor a pair of a sum below ``least`` interrupts; return how many there are.

    Args:
        text: [positions], a barrier first and last.
        sums: Of pairs, by bucket.
        least: A sum.
        places: [places, 3] where a run begins, its length, and which segment it is of.
        keys: [places] the run's hash.
    """
    count, begin, segment = 0, 0, -1
    for p in range(1, text.size):
        if text[p] != 0 and text[p - 1] != 0 and sums[bucket(sums, text[p - 1], text[p])] >= least:
            continue
        if text[p - 1] == 0:
            segment += 1
        else:
            places[count, 0], places[count, 1], places[count, 2] = begin, p - begin, segment
            keys[count] = string_hash(text, begin, p - begin)
            count += 1
        begin = p
    return count


@entry_jit
def number_keys(keys: Any, table: Any, number: Any, example: Any) -> Any:
    """Number distinct keys in order of appearance; return how many there are.

    Args:
        keys: [n]
        table: Empty, with room for them.
        number: [n] is set to each one's number.
        example: [distinct keys] is set to where each first stands.
    """
    count = 0
    for i in range(keys.size):
        slot = find(table, keys[i])
        if table[2 * slot + np.uint64(1)] == 0:
            table[2 * slot], table[2 * slot + np.uint64(1)] = keys[i], np.uint64(count + 1)
            example[count] = i
            count += 1
        number[i] = np.int64(table[2 * slot + np.uint64(1)]) - 1
    return count


@entry_jit
def lay_runs(text: Any, places: Any, result: Any) -> None:
    """Copy the runs at some places into ``result``, which is all 0, with a barrier before each and after the last."""
    at = 1
    for place in range(places.shape[0]):
        for i in range(places[place, 1]):
            result[at + i] = text[places[place, 0] + i]
        at += places[place, 1] + 1


@entry_jit
def add_rows(target: Any, source: Any, rows: Any, result: Any) -> None:
    """Add row ``source[i]`` of ``rows`` to row ``target[i]`` of ``result``, for every i."""
    for i in range(target.size):
        for column in range(rows.shape[1]):
            result[target[i], column] += rows[source[i], column]
