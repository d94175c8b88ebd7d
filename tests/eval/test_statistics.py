"""Bootstrap intervals: seeded, paired, and as wide as they should be."""

import numpy as np
import pytest

from eval.statistics import Resampling, interval, resampled_ratios

RESAMPLING = Resampling(num_resamples=500, seed=0)


def test_same_seed_same_interval_and_other_seed_another():
    rng = np.random.default_rng(0)
    bits, sizes = rng.gamma(2.0, size=(50, 2)), rng.integers(1, 100, 50).astype(float)
    first = resampled_ratios(bits, sizes, RESAMPLING, "x")
    assert np.array_equal(first, resampled_ratios(bits, sizes, RESAMPLING, "x"))
    assert not np.array_equal(first, resampled_ratios(bits, sizes, Resampling(num_resamples=500, seed=1), "x"))


def test_pairing_cancels_what_documents_share():
    """Two models that differ by a constant per byte: the paired difference is known exactly."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(10, 1000, 200).astype(float)
    difficulty = rng.gamma(4.0, size=200)
    bits = np.stack([difficulty * sizes, (difficulty + 0.25) * sizes], axis=1)
    samples = resampled_ratios(bits, sizes, RESAMPLING, "x")
    low, high = interval(samples[:, 1] - samples[:, 0], 200) or (0, 0)
    assert low == pytest.approx(0.25) == high
    wide = interval(samples[:, 0], 200) or (0, 0)
    assert wide[1] - wide[0] > 0.1


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """300 draws of 80 documents; the nominal 95% intervals should hold the true mean 90 to 99% of the time."""
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        values = rng.gamma(4.0, size=(80, 1))
        low, high = interval(resampled_ratios(values, np.ones(80), RESAMPLING, str(trial))[:, 0], 80) or (0, 0)
        hits += low <= 4.0 <= high
    assert 0.90 <= hits / 300 <= 0.99


def test_one_document_has_no_interval():
    assert interval(np.array([1.0, 1.0]), 1) is None
