"""How far a run has come, by steps or by the clock, and the learning rate that follows from it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Budget:
    """What a run may spend: steps, and seconds if they are limited."""

    num_steps: int
    seconds: float | None = None
    spent: float = 0.0
    """Seconds that earlier tries of the same run trained."""
    _started: float | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def elapsed(self) -> float:
        """Return the seconds trained so far, earlier tries included."""
        return self.spent + (time.monotonic() - self._started if self._started is not None else 0.0)

    def share(self, step: int) -> float:
        """Return the part spent after ``step`` steps, 0 to 1: of the steps or of the seconds, whichever is more."""
        by_clock = self.elapsed() / self.seconds if self.seconds is not None else 0.0
        return min(1.0, max(step / self.num_steps, by_clock))


def lr_factor(share: float, warmup: float) -> float:
    """Return the learning rate as a part of its peak: a linear rise over ``warmup``, then a cosine to zero.

    Args:
        share: Part of the run that is spent, 0 to 1.
        warmup: Part of the run that the rise takes.
    """
    if share < warmup:
        return share / warmup
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))
