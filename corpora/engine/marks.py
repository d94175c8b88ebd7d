"""Completion marks that are true after a power cut: what a task wrote is on the disk before the mark is."""

import os


class DurableMarks:
    """Mixed into datatrove's executors, which mark a task as completed without flushing what it wrote."""

    def mark_rank_as_completed(self, rank: int) -> None:
        """Flush every file to the disk, then mark the task; a lost mark only means that the task is done again."""
        os.sync()
        super().mark_rank_as_completed(rank)  # pyright: ignore[reportAttributeAccessIssue]
