"""Processes that end with the one that started them, even if that was killed and could tell them nothing."""

import ctypes
import os
import signal
import sys

_PARENT = "HANLM_PARENT"
_PR_SET_PDEATHSIG = 1


def as_parent() -> dict[str, str]:
    """Return the environment for a child that is to end with this process."""
    return os.environ | {_PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Ask for a SIGTERM at the end of the process that gave this one ``as_parent()``'s environment, if one did.

    The kernel sends it, on Linux alone: elsewhere a child outlives a parent that is killed, and keeps its locks.
    """
    if (parent := os.environ.pop(_PARENT, None)) is not None:
        _end_with(int(parent), signal.SIGTERM)


def end_with_creator() -> None:
    """Ask for a SIGKILL at the end of the process that forked this one: for a worker, whose work is begun again anyway.

    A worker that outlived the run would write the same files as the next run's.
    """
    _end_with(os.getppid(), signal.SIGKILL)


def _end_with(parent: int, number: signal.Signals) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(128 + number)
