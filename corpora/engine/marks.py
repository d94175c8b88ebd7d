"""Completion marks that are true after a power cut: what a task wrote is on the disk before the mark is."""

import os
import time
from collections.abc import Sequence
from typing import Any

from hanlm.errors import InputError

SETTLE_SECONDS = 90.0
"""How long a file that another node wrote may stay unseen: NFS keeps lists of names for up to 60 s."""


class DurableMarks:
    """Mixed into datatrove's executors, which mark a task as completed without flushing what it wrote."""

    def mark_rank_as_completed(self, rank: int) -> None:
        """Flush every file to the disk, then mark the task; a lost mark only means that the task is done again."""
        os.sync()
        super().mark_rank_as_completed(rank)  # pyright: ignore[reportAttributeAccessIssue]


def wait_for_marks(executor: Any, ranks: Sequence[int]) -> None:
    """Return when the marks of these tasks, which have ended on other nodes, are seen on this one.

    Raises:
        InputError: If they are not seen in time.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while missing := executor.get_incomplete_ranks(ranks):
        if time.monotonic() > deadline:
            raise InputError(
                f"expected a file system that all nodes share, but task {missing[0]} was completed on a node and no "
                f"mark of it is seen here in {executor.logging_dir.path}; choose --out in a folder that every node has."
            )
        time.sleep(1)
