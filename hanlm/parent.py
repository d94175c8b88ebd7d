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
    parent = os.environ.pop(_PARENT, None)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it ended before we asked
        sys.exit(128 + signal.SIGTERM)
