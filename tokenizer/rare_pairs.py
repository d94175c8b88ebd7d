"""Segments cut where two characters meet too rarely for any piece to reach across: less text to learn from.

A piece that holds a pair of characters saves no more tokens than the pair occurs. So as long as every piece that is
learned saves at least as much as the most frequent pair that was cut, learning gives what it would have given without:
on 58 MB and for 25,000 pieces from little more than half the text, in half the time.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tokenizer.bpe_cut import add_rows, cut_runs, keep_pairs, lay_runs, number_keys, sum_pairs

_MAX_BUCKETS: Final = 1 << 22
"""Four for each pair of 58 MB; in larger corpora what meets in a bucket is cut less often."""


@dataclass(frozen=True, slots=True)
class Runs:
    """What is left of segments, each distinct run once."""

    text: npt.NDArray[np.int32]
    """[positions] with a barrier (0) before each run and after the last."""
    lengths: npt.NDArray[np.int64]
    """[runs] in symbols."""
    least: int
    """Pieces that save less than this may be missing."""
    run: npt.NDArray[np.int32]
    """[places]: of each place in the segments where a run stands, which run it is."""
    segment: npt.NDArray[np.int32]
    """[places]: and of which segment."""

    def totals(self, of_segments: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return, [runs, columns], the sums of what [segments, columns] says of each one's segments."""
        result = np.zeros((self.lengths.size, of_segments.shape[1]))  # whole numbers up to 2 ** 53 are exact
        add_rows(self.run, self.segment, of_segments, result)
        return result


def cut_rare(
    text: npt.NDArray[np.int32], weight: npt.NDArray[np.int32], kept: npt.NDArray[np.int32], num_pairs: int
) -> Runs:
    """Cut segments at all but about the ``num_pairs`` most frequent pairs of characters.

    Args:
        text: [positions] symbols with a barrier (0) before each segment and after the last.
        weight: [positions] of the segment, 0 or more.
        kept: [symbols] a text whose pairs are never cut: the base's own pieces merge however rare they are.
        num_pairs: How many pairs are frequent.
    """
    sums = np.zeros(min(_MAX_BUCKETS, 1 << (4 * text.size).bit_length()), np.int64)
    sum_pairs(text, weight, sums)
    least = int(np.partition(sums, -num_pairs)[-num_pairs]) if num_pairs < sums.size else 0
    keep_pairs(kept, sums)
    # Room for as many as there could be: what is not written takes no memory.
    places, keys = np.empty((text.size, 3), np.int32), np.empty(text.size, np.uint64)
    count = cut_runs(text, sums, least, places, keys)
    places = places[:count]
    run, example = np.zeros(count, np.int32), np.empty(count, np.int32)
    table = np.zeros(2 << (count + count // 2).bit_length(), np.uint64)
    distinct = places[example[: number_keys(keys[:count], table, run, example)]]
    del table, keys
    lengths = distinct[:, 1].astype(np.int64)
    laid = np.zeros(int(lengths.sum()) + lengths.size + 1, np.int32)
    lay_runs(text, distinct, laid)
    return Runs(laid, lengths, least, run, places[:, 2].copy())
