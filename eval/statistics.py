"""Bootstrap intervals of ratios of sums, paired over what is resampled.

Bits per byte of a set of documents is a ratio, sum of bits over sum of bytes; accuracy is the same with a 1 below every
row. Documents are drawn whole, since the tokens of one document are far from independent.
"""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
"""Share of the distribution that an interval covers."""

_MAX_DRAWN = 2**24  # weights drawn at once: 64 MiB


@dataclass(frozen=True, kw_only=True, slots=True)
class Resampling:
    """How intervals are made."""

    num_resamples: int
    """Bootstrap samples."""
    seed: int
    """Seed; the same data and seed give the same interval."""


def resampled_ratios(
    numerators_NM: NDArray[np.float64], denominators_N: NDArray[np.float64], resampling: Resampling, name: str
) -> NDArray[np.float64]:
    """Return the ratio of sums of M quantities over N units in R bootstrap samples, as an (R, M) array.

    All M quantities of one sample come from the same drawn units, so the difference of two columns is a paired
    bootstrap of their difference.

    Args:
        numerators_NM: Each unit's contribution to each quantity (such as bits of each model).
        denominators_N: Each unit's size (such as bytes); positive.
        resampling: Number of samples and seed.
        name: What the units are called; sets with different names are drawn independently of each other.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 6 and 13 (percentile interval).
    """
    num_units, num_quantities = numerators_NM.shape
    digest = sha256(f"{resampling.seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    ratios = np.empty((resampling.num_resamples, num_quantities))
    step = max(1, _MAX_DRAWN // num_units)
    for start in range(0, resampling.num_resamples, step):
        rows = min(step, resampling.num_resamples - start)
        # How often each unit is drawn, which is all a sum over the drawn units needs.
        weights = rng.multinomial(num_units, np.full(num_units, 1 / num_units), size=rows).astype(np.float64)
        ratios[start : start + rows] = (weights @ numerators_NM) / (weights @ denominators_N)[:, None]
    return ratios


def interval(samples: NDArray[np.float64], num_units: int) -> list[float] | None:
    """Return the percentile interval ``[low, high]`` of bootstrap samples, or None where there was but one unit."""
    if num_units < 2:
        return None
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]
