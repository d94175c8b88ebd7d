"""How often each new piece is used in the end, in each part of the text it was learned from."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from typing import Final

import numpy as np
import numpy.typing as npt

from tokenizer.bpe_use import add_uses
from tokenizer.learn import Learned

_AT_ONCE: Final = 8
"""Parts that are counted in one pass: each takes 8 bytes for every distinct segment, and again for every run."""


def piece_uses(
    learned: Learned, segments: Iterable[str], parts: Sequence[Mapping[str, int]]
) -> npt.NDArray[np.float64]:
    """Return how often each part uses each of the pieces, [pieces, parts] (whole numbers).

    Args:
        learned: What was learned from ``segments``.
        segments: All segments, in the order in which learning was given them.
        parts: Segment -> how often it counts in this part.
    """
    index = {segment: i for i, segment in enumerate(segments)}
    lengths = learned.runs.lengths if learned.runs else np.fromiter(map(len, index), np.int64, len(index))
    return np.column_stack([_uses_in(learned, index, lengths, some) for some in batched(parts, _AT_ONCE)])


def _uses_in(
    learned: Learned, index: Mapping[str, int], lengths: npt.NDArray[np.int64], parts: Sequence[Mapping[str, int]]
) -> npt.NDArray[np.float64]:
    """Return the uses in some of the parts, [pieces, parts]."""
    counts = np.zeros((len(index), len(parts)))
    for i, part in enumerate(parts):
        counts[np.fromiter(map(index.__getitem__, part), np.int64, len(part)), i] = np.fromiter(
            part.values(), np.float64, len(part)
        )
    if learned.runs is not None:
        counts = learned.runs.totals(counts)
    used = np.zeros((learned.tok_hash.size, len(parts)))
    add_uses(learned.tok, lengths, counts, used)
    return used[learned.tokens]
