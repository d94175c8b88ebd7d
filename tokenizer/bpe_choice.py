"""The compiled part of choosing: removing the leaf that is missed least, again and again, until few enough are left."""

from typing import Any

import numpy as np

from hanlm.jit import entry_jit, inner_jit


@inner_jit
def score(usage: Any, share: Any, power: Any, lexicon_share: Any, left_out: Any) -> Any:
    """Return a piece's expected use: the power mean of its rates in all domains, and its part of the lexicon.

    ``usage`` holds a weight per domain and, last, the lexicon's; the domain ``left_out`` (-1: none) does not count.
    """
    total = whole = 0.0
    for domain in range(share.size):
        if domain != left_out:
            total += share[domain] * (usage[domain] / share[domain]) ** power
            whole += share[domain]
    return (total / whole) ** (1.0 / power) + lexicon_share * usage[share.size]


@inner_jit
def _before(keys: Any, a: Any, b: Any) -> Any:
    """Order leaves: the one missed least first, among equals the one that was found last."""
    return keys[a] < keys[b] or (keys[a] == keys[b] and a > b)


@inner_jit
def _push(heap: Any, size: Any, keys: Any, piece: Any) -> None:
    i = size
    while i > 0 and _before(keys, piece, heap[(i - 1) >> 1]):
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = piece


@inner_jit
def _pop(heap: Any, size: Any, keys: Any) -> Any:
    top, last, i = heap[0], heap[size - 1], 0
    while 2 * i + 1 < size - 1:
        child = 2 * i + 1
        if child + 1 < size - 1 and _before(keys, heap[child + 1], heap[child]):
            child += 1
        if not _before(keys, heap[child], last):
            break
        heap[i] = heap[child]
        i = child
    heap[i] = last
    return top


@entry_jit
def prune(
    usage: Any,
    parents: Any,
    worth: Any,
    share: Any,
    power: Any,
    lexicon_share: Any,
    left_out: Any,
    num_kept: Any,
    children: Any,
    heap: Any,
    keys: Any,
    removed: Any,
    lost: Any,
) -> None:
    """Remove pieces until ``num_kept`` are left.

    A piece that is gone is spelled by its two parents, so they take over its use. Only leaves go: a piece is
    kept as long as another is merged from it.

    Args:
        usage: float64 [pieces, domains + 1], as for ``score``; changed.
        parents: int32 [pieces, 2], -1 where the parent is no new piece.
        worth: float64 [pieces]: tokens that one use saves.
        share: float64 [domains].
        power: Of the mean over domains.
        lexicon_share: What the lexicon counts for.
        left_out: A domain that the choice must not see, or -1.
        num_kept: How many pieces are to stay.
        children: int32 [pieces], zeros; scratch.
        heap: int32 [pieces]; scratch.
        keys: float64 [pieces]; scratch.
        removed: int32 [pieces - num_kept]: the pieces removed, in that order; result.
        lost: float64 [pieces - num_kept, columns]: tokens that each removal costs; result.
    """
    for piece in range(parents.shape[0]):
        for side in range(2):
            if parents[piece, side] >= 0:
                children[parents[piece, side]] += 1
    size = 0
    for piece in range(parents.shape[0]):
        if children[piece] == 0:
            keys[piece] = worth[piece] * score(usage[piece], share, power, lexicon_share, left_out)
            _push(heap, size, keys, piece)
            size += 1
    for step in range(parents.shape[0] - num_kept):
        piece = np.int64(_pop(heap, size, keys))
        size -= 1
        removed[step] = piece
        for column in range(usage.shape[1]):
            lost[step, column] = worth[piece] * usage[piece, column]
        for side in range(2):
            parent = parents[piece, side]
            if parent >= 0:
                for column in range(usage.shape[1]):
                    usage[parent, column] += usage[piece, column]
                children[parent] -= 1
                if children[parent] == 0:
                    keys[parent] = worth[parent] * score(usage[parent], share, power, lexicon_share, left_out)
                    _push(heap, size, keys, parent)
                    size += 1
