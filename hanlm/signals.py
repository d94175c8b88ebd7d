"""Stopping when asked: finish the step, save, leave with exit code 75."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """Whether a signal asked the loop to stop at its next safe point."""

    requested: bool = False


@contextmanager
def stop_on_signal() -> Generator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; a second one interrupts at once.

    A loop tests ``stop.requested`` after each step, saves, and raises ``Interrupted``. Outside the main
    thread signals cannot be caught, and the request stays False.
    """
    stop = StopRequest()

    def handle(_signum: int, _frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

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
