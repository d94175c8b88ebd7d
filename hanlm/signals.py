"""Stopping when asked: finish the step, save, leave with exit code 75."""

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO_SECONDS = 2.0
"""Slurm signals every process of a job, and torchrun hands its own signal on: the same wish comes twice."""


@dataclass
class StopRequest:
    """Whether a signal asked the loop to stop at its next safe point."""

    requested: bool = False
    requested_at: float = 0.0


@contextmanager
def stop_on_signal() -> Generator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; another one, two seconds later or more, interrupts at once.

    A loop tests ``stop.requested`` after each step, saves, and raises ``Interrupted``. Outside the main
    thread signals cannot be caught, and the request stays False.
    """
    stop = StopRequest()

    def handle(_signum: int, _frame: FrameType | None) -> None:
        if not stop.requested:
            stop.requested, stop.requested_at = True, time.monotonic()
        elif time.monotonic() - stop.requested_at >= _ECHO_SECONDS:
            raise KeyboardInterrupt

    try:
        previous = {s: signal.signal(s, handle) for s in _SIGNALS}
    except ValueError:
        yield stop
        return
    try:
        yield stop
    finally:
        for s, handler in previous.items():
            signal.signal(s, handler)
