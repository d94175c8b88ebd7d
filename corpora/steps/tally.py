"""Counting documents as they pass."""

from collections import Counter

from datatrove.pipeline.base import PipelineStep


class Tally(Counter[str]):
    """What a step counts in one task; the sums become datatrove's statistics once, when the task ends.

    datatrove's own counting keeps a mean and a variance of every count, which nobody asks for, on each document's way.
    """

    def add_to(self, step: PipelineStep) -> None:
        """Add all counts to the statistics of a step."""
        for name, count in self.items():
            step.stat_update(name, value=count)
