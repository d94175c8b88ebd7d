"""The order in which rows are trained: drawn once, so that a resumed run goes on exactly where it stopped.

Rows of like length share a batch, because a batch is padded to its longest row. The whole run's order is one list that
the trainer walks in sequence; nothing about it hangs on a random state that a kill would lose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_BATCHES_A_POOL = 32
"""Rows are sorted within a pool of so many batches: wide enough for even lengths, narrow enough to stay random."""


def training_order(
    lengths: Sequence[int],
    sources: Sequence[int],
    repeats: Sequence[float],
    *,
    epochs: float,
    batch_size: int,
    seed: int,
) -> list[int]:
    """Return the indices of rows, in training order, of all epochs together; every ``batch_size`` form a batch.

    Args:
        lengths: Tokens of each row.
        sources: Which data path each row is of.
        repeats: How often an epoch shows a row, by source; of the fraction a random part is shown.
        epochs: Passes; a fraction ends within the last one.
        batch_size: Rows a batch.
        seed: The same seed gives the same order.
    """
    order: list[int] = []
    for epoch in range(math.ceil(epochs)):
        draw = np.random.default_rng((seed, epoch))
        rows = _epoch_rows(np.asarray(sources), np.asarray(repeats, dtype=np.float64), draw)
        share = min(1.0, epochs - epoch)
        rows = rows[: math.ceil(share * len(rows))]
        # The batch that the epoch before left short is filled first: only so do batches begin where groups do.
        lacking = -len(order) % batch_size
        order += [int(row) for row in rows[:lacking]]
        order += _grouped(rows[lacking:], np.asarray(lengths), batch_size, draw)
    return order


def _epoch_rows(sources: npt.NDArray[Any], repeats: npt.NDArray[Any], draw: np.random.Generator) -> npt.NDArray[Any]:
    """One shuffled epoch: each row as often as its source repeats, fractions by lot."""
    wanted = repeats[sources]
    times = np.floor(wanted).astype(np.int64)
    times += draw.random(len(sources)) < wanted - times
    rows = np.repeat(np.arange(len(sources)), times)
    draw.shuffle(rows)
    return rows


def _grouped(
    rows: npt.NDArray[Any], lengths: npt.NDArray[Any], batch_size: int, draw: np.random.Generator
) -> list[int]:
    """Sort within pools and shuffle the batches; the one batch that is not full comes last."""
    pool = batch_size * _BATCHES_A_POOL
    pools = [rows[i : i + pool] for i in range(0, len(rows), pool)]
    by_length = [p[np.argsort(lengths[p], kind="stable")] for p in pools]
    batches = [p[i : i + batch_size] for p in by_length for i in range(0, len(p), batch_size)]
    full = [b for b in batches if len(b) == batch_size]
    rest = [b for b in batches if len(b) < batch_size]
    shuffled = [full[i] for i in draw.permutation(len(full))] + rest
    return [int(row) for batch in shuffled for row in batch]
