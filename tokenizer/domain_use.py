"""How often each new piece is used in the end, in each part of the text it was learned from."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from tokenizer.learn import Learned


def usage(
    learned: Learned, segments: Iterable[str], parts: Iterable[Mapping[str, int]]
) -> list[npt.NDArray[np.float64]]:
    """Return, for each part, how often it uses each of the pieces (whole numbers).

    Args:
        learned: What was learned from ``segments``.
        segments: All segments, in the order in which learning was given them.
        parts: Segment -> how often it counts in this part.
    """
    state = learned.state
    index = {segment: i for i, segment in enumerate(segments)}
    lengths = np.fromiter(map(len, index), np.int64, len(index))
    segment_of = np.repeat(np.arange(len(index), dtype=np.int32), lengths + 1)  # from position 1, each with its barrier
    starts = np.flatnonzero(state.tok >= 0)
    tokens, segment_of = state.tok[starts], segment_of[starts - 1]
    used: list[npt.NDArray[np.float64]] = []
    for part in parts:
        counts = np.zeros(len(index))
        counts[[index[segment] for segment in part]] = list(part.values())
        sums = np.bincount(tokens, weights=counts[segment_of], minlength=len(state.tok_known))
        used.append(sums[learned.tokens])
    return used
