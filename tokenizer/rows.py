"""The rows that are appended to a vocabulary matrix, made block by block from the rows that are there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tokenizer.mixtures import Mixture, mean_mixtures, random_mixtures, tree_mixtures
from tokenizer.safetensor_files import MoreRows, StoredRows

type Start = Literal["random", "mean", "sub-token-mean", "convex-hull", "merge-tree"]
"""Ways that need nothing but the matrix."""

_BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How the new rows of every matrix start."""

    num_base: int
    """Tokens of the base; rows beyond them in its matrices are padding and are replaced."""
    num_new: int
    mixtures: Sequence[Mixture] | None
    """For each new row; None for random rows."""
    seed: int = 0
    """Of random rows."""


def plan_rows(start: Start, parents: Sequence[Sequence[int]], num_base: int, seed: int) -> RowPlan:
    """Return the plan for a way of starting.

    Args:
        start: The way.
        parents: For each new row the ids it is made of, which may be new ones before it.
        num_base: Tokens of the base.
        seed: Of the ways that draw.
    """
    match start:
        case "merge-tree":
            mixtures = tree_mixtures(parents, num_base)
        case "sub-token-mean":
            mixtures = mean_mixtures(parents, num_base)
        case "convex-hull":
            mixtures = random_mixtures(parents, num_base, seed)
        case "mean":
            mixtures = [{}] * len(parents)  # no base row stands out: the mean of all, as for padding
        case "random":
            mixtures = None
    return RowPlan(num_base, len(parents), mixtures, seed)


def new_rows(matrix: StoredRows, plan: RowPlan, num_padded: int) -> MoreRows:
    """Return the rows after the base's, ``num_padded - num_base`` of them, without the matrix in memory.

    Args:
        matrix: [rows >= num_base, D], or a vector of biases.
        plan: What each new row is made of.
        num_padded: Rows of the result and the base together. Rows beyond the new tokens' are the mean of all base
            rows: a logit below most others, so padding takes next to no probability.
    """
    return MoreRows(num_padded - plan.num_base, _blocks(matrix, plan, num_padded))


def _blocks(matrix: StoredRows, plan: RowPlan, num_padded: int) -> Iterator[npt.NDArray[np.float32]]:
    mean, deviation = moments(matrix, plan.num_base)
    generator = np.random.default_rng(plan.seed)
    total = num_padded - plan.num_base
    for start in range(0, total, _BLOCK_ROWS):
        rows = np.tile(mean.astype(np.float32), (min(_BLOCK_ROWS, total - start), *[1] * mean.ndim))
        for k in range(max(0, min(len(rows), plan.num_new - start))):
            if plan.mixtures is None:
                rows[k] = deviation * generator.standard_normal(mean.shape)
            elif mixture := plan.mixtures[start + k]:
                rows[k] = np.average(matrix[list(mixture)], axis=0, weights=list(mixture.values()))
        yield rows


def moments(matrix: StoredRows, num_rows: int) -> tuple[npt.NDArray[np.float64], float]:
    """Return the mean of the first rows, [...], and the standard deviation of their elements."""
    total = np.zeros(matrix.shape[1:])
    elements, squares = 0.0, 0.0
    for block in matrix.blocks(num_rows):
        total += block.sum(axis=0, dtype=np.float64)
        elements += float(block.sum(dtype=np.float64))
        squares += float(np.square(block, dtype=np.float64).sum())
    count = num_rows * max(1, total.size)
    return total / num_rows, max(0.0, squares / count - (elements / count) ** 2) ** 0.5
