"""A limit on the seconds that code from elsewhere may take, so that one that never ends cannot hold up a run."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Never


class TimeUpError(Exception):
    """What ran under a time limit took longer than that."""


@contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """Raise ``TimeUpError`` in the block once it has taken so long.

    Stops what runs in Python; a single long call into C ends first. A timer that is set already goes on afterwards.
    Outside the main thread no signal can be caught, and there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_signum: int, _frame: FrameType | None) -> Never:
        raise TimeUpError

    handler = signal.signal(signal.SIGALRM, end)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
        signal.signal(signal.SIGALRM, handler)
