"""Where new rows start, as weighted means of rows of the base: one mixture serves every matrix of a model.

A mixture says nothing of sizes, so rows can be made one block at a time from a file.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

type Mixture = Mapping[int, float]
"""Id of the base -> weight; the weights are positive and sum to 1, so the row lies in the base rows' convex hull."""

LATER_BYTE: Final = 2.0
"""How much more each byte of a character weighs than the one before. The last bytes tell characters apart: with equal
weights characters of one lead byte start nearly equal, and those of the same bytes in another order exactly; the first
step on the demo base costs 11.38 bits per character so, 11.93 with equal weights."""


def mean_mixtures(parents: Sequence[Sequence[int]], num_base: int) -> list[Mixture]:
    """Return each new row as the mean of its parents, which may be new rows before it."""
    return _resolve([[(i, 1.0 / len(ids)) for i in ids] for ids in parents], num_base)


def tree_mixtures(parents: Sequence[Sequence[int]], num_base: int) -> list[Mixture]:
    """Return each new row as the mean of the parts it is merged from; a character's later bytes weigh more.

    Args:
        parents: For each new row the ids it is made of, smaller than its own: two parts of a merge, or the bytes of a
            character, which are known by being more than two.
        num_base: Tokens of the base.
    """
    weighed: list[list[tuple[int, float]]] = []
    for ids in parents:
        growth = LATER_BYTE if len(ids) > 2 and max(ids) < num_base else 1.0
        powers = [growth**k for k in range(len(ids))]
        weighed.append([(i, power / sum(powers)) for i, power in zip(ids, powers, strict=True)])
    return _resolve(weighed, num_base)


def random_mixtures(parents: Sequence[Sequence[int]], num_base: int, seed: int) -> list[Mixture]:
    """Return each new row as a point drawn evenly from the convex hull of its parents' rows.

    Source: Mundra et al. 2024 (arXiv:2407.05841) show that new rows inside the convex hull of the old ones start well;
    they learn the weights, here they are drawn.
    """
    generator = np.random.default_rng(seed)
    drawn = [generator.dirichlet(np.ones(len(ids))).tolist() for ids in parents]
    return _resolve(
        [list(zip(ids, weights, strict=True)) for ids, weights in zip(parents, drawn, strict=True)], num_base
    )


def _resolve(weighed: Sequence[Sequence[tuple[int, float]]], num_base: int) -> list[Mixture]:
    """Write mixtures of new rows as mixtures of base rows."""
    mixtures: list[Mixture] = []
    for parts in weighed:
        total: defaultdict[int, float] = defaultdict(float)
        for i, weight in parts:
            for leaf, share in ({i: 1.0} if i < num_base else mixtures[i - num_base]).items():
                total[leaf] += weight * share
        mixtures.append(dict(total))
    return mixtures
