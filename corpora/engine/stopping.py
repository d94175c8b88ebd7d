"""Being asked to stop, for code that runs in this process far below the place that catches signals."""

from collections.abc import Generator
from contextlib import contextmanager

from hanlm.errors import Interrupted
from hanlm.signals import StopRequest, stop_on_signal

_watched: list[StopRequest] = []


@contextmanager
def stoppable() -> Generator[None]:
    """Turn SIGINT and SIGTERM into what ``refuse_if_stopped`` raises; in worker processes nothing is watched."""
    with stop_on_signal() as stop:
        _watched.append(stop)
        try:
            yield
        finally:
            _watched.remove(stop)


def refuse_if_stopped() -> None:
    """Raise ``Interrupted`` if a signal asked this process to stop."""
    if any(stop.requested for stop in _watched):
        raise Interrupted("stopped; finished tasks are kept, nothing was published: run the same command again.")
