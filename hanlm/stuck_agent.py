"""An agent of torchrun's that nothing can reach any more is ended.

Where a node loses the network, its agent waits inside torch's store for an answer that never comes: it neither sees
that its processes have ended, nor handles a signal. This watches from a thread of its own.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hanlm.errors import Interrupted

END_WITH_STDIN = "HANLM_END_WITH_STDIN"
"""Set where the end of standard input means: save and stop. So a lost ssh connection leaves nothing running."""
_TICK_SECONDS = 1.0
_STOP_SECONDS = 10.0
"""How long an agent that was told to stop may take when its processes have ended."""


def watch(seconds: float, last_words: Callable[[], None]) -> None:
    """Begin to watch this process, if it is on Linux (elsewhere its children cannot be listed), and its standard input.

    Args:
        seconds: How long it may be without a process, as while it waits for the other nodes.
        last_words: Called before it is ended.
    """
    stopping = threading.Event()
    if os.environ.pop(END_WITH_STDIN, ""):
        threading.Thread(target=_stop_at_end_of_input, args=(stopping,), daemon=True).start()
    if sys.platform == "linux":
        threading.Thread(target=_end_when_stuck, args=(seconds, stopping, last_words), daemon=True).start()


def _stop_at_end_of_input(stopping: threading.Event) -> None:
    while os.read(0, 1 << 10):
        pass
    stopping.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _end_when_stuck(seconds: float, stopping: threading.Event, last_words: Callable[[], None]) -> None:
    alone_since: float | None = None
    while True:
        time.sleep(_TICK_SECONDS)
        now = time.monotonic()
        alone_since = None if _has_children() else alone_since or now
        if alone_since and now - alone_since > (_STOP_SECONDS if stopping.is_set() else seconds):
            last_words()
            os._exit(Interrupted.exit_code if stopping.is_set() else 1)


def _has_children() -> bool:
    """Say whether a process that this one started still runs; one that has ended and waits to be noticed does not."""
    found = (pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split())
    return any(_runs(pid) for pid in found)


def _runs(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
