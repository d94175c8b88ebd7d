"""Rows of the embedding and output matrices for new pieces, from the pieces' parents in the merge tree.

A piece starts as the mean of the two pieces it is merged from, recursively down to tokens of the base. A character
the base spells in bytes starts as the mean of its bytes' rows.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

NOISE: Final = 0.2
"""Standard deviation of what is added to a character's row, in that of the matrix's own elements. Characters of one
lead byte would else start nearly equal, and those of the same bytes in another order exactly."""


def new_rows(
    matrix: npt.NDArray[np.float32], num_base: int, parents: Sequence[Sequence[int]], num_padded: int, seed: int
) -> npt.NDArray[np.float32]:
    """Return the rows from ``num_base`` on, [num_padded - num_base, ...].

    Args:
        matrix: [rows >= num_base, D] the base's rows; those from ``num_base`` on are padding and left out.
        num_base: Tokens of the base.
        parents: For each new piece the ids its row is the mean of; smaller than its own.
        num_padded: Rows of the result and the base together. Rows beyond the pieces are the mean of all base rows: a
            logit below most others, so padding takes next to no probability.
        seed: Of the noise on the rows of characters.
    """
    base = matrix[:num_base]
    mean = base.mean(axis=0, dtype=np.float64)
    rows = np.empty((num_padded, *matrix.shape[1:]), np.float64)
    rows[:num_base] = base
    rows[num_base:] = mean
    scale = NOISE * float((base - mean).std())
    noise = np.random.default_rng(seed)
    for i, ids in enumerate(parents, num_base):
        rows[i] = rows[list(ids)].mean(axis=0)
        if len(ids) > 2 and max(ids) < num_base:
            rows[i] += scale * noise.standard_normal(matrix.shape[1:])
    return rows[num_base:].astype(np.float32)
