"""Groups of records with one key: what every kind of deduplication comes down to."""

from typing import Any

import numpy as np
import numpy.typing as npt


def equal_groups(
    high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64] | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the records that share their key with another, group by group, and where each group begins.

    Args:
        high: First half of the keys, in input order.
        low: Second half; None where the first is the whole key.

    Returns:
        Indices of the members, in input order within a group; and for each of them True where a group begins.
    """
    order = np.argsort(high, kind="stable")
    sorted_high = high[order]
    equal = sorted_high[1:] == sorted_high[:-1]
    shared = np.zeros(len(order), dtype=bool)
    shared[1:] |= equal
    shared[:-1] |= equal
    # Most records are alone: only what is left is sorted by both halves.
    order, sorted_high = order[shared], sorted_high[shared]
    begins = np.ones(len(order), dtype=bool)
    if low is None:
        begins[1:] = sorted_high[1:] != sorted_high[:-1]
        return order, begins
    again = np.lexsort((low[order], sorted_high))
    order, sorted_high = order[again], sorted_high[again]
    sorted_low = low[order]
    begins[1:] = (sorted_high[1:] != sorted_high[:-1]) | (sorted_low[1:] != sorted_low[:-1])
    return order, begins


def leaders(begins: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return, for each member, the position of its group's first member."""
    return np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0)) if len(begins) else np.empty(0, np.int64)
