"""A max-heap of candidates whose entries may be stale: gains fall without being looked up in the heap."""

from typing import Any

from hanlm.jit import inner_jit
from tokenizer.bpe_kernels import FIRST, LENGTH, NUM_FIELDS, NUM_HEAP


@inner_jit
def precedes(s: Any, gain_a: Any, a: Any, gain_b: Any, b: Any) -> Any:
    """Order candidates: the larger gain, then the shorter string, then the smaller code points."""
    if gain_a != gain_b:
        return gain_a > gain_b
    length = s.meta[a * NUM_FIELDS + LENGTH]
    if length != s.meta[b * NUM_FIELDS + LENGTH]:
        return length < s.meta[b * NUM_FIELDS + LENGTH]
    at, bt = s.meta[a * NUM_FIELDS + FIRST], s.meta[b * NUM_FIELDS + FIRST]
    for i in range(length):
        if s.text[at + i] != s.text[bt + i]:
            return s.text[at + i] < s.text[bt + i]
    return False


@inner_jit
def heap_push(s: Any, gain: Any, candidate: Any) -> None:
    """Push an entry; the caller has made room."""
    i = s.n[NUM_HEAP]
    s.n[NUM_HEAP] += 1
    while i > 0:
        parent = (i - 1) >> 1
        if not precedes(s, gain, candidate, s.heap_gain[parent], s.heap_candidate[parent]):
            break
        s.heap_gain[i], s.heap_candidate[i] = s.heap_gain[parent], s.heap_candidate[parent]
        i = parent
    s.heap_gain[i], s.heap_candidate[i] = gain, candidate


@inner_jit
def heap_drop_top(s: Any) -> None:
    """Remove the top entry."""
    s.n[NUM_HEAP] -= 1
    size = s.n[NUM_HEAP]
    gain, candidate = s.heap_gain[size], s.heap_candidate[size]
    i = 0
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and precedes(
            s, s.heap_gain[child + 1], s.heap_candidate[child + 1], s.heap_gain[child], s.heap_candidate[child]
        ):
            child += 1
        if not precedes(s, s.heap_gain[child], s.heap_candidate[child], gain, candidate):
            break
        s.heap_gain[i], s.heap_candidate[i] = s.heap_gain[child], s.heap_candidate[child]
        i = child
    s.heap_gain[i], s.heap_candidate[i] = gain, candidate
