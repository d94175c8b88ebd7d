"""What the steps of deduplication share: they read and write files of one folder."""

from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep


class DedupStep(PipelineStep):
    """A step that takes no documents; for the executors of datatrove.

    Each task writes its own files whole, so running one again changes nothing.

    Args:
        folder: The dedup folder.
        num_tasks: Tasks that wrote signatures into it.
    """

    type = "DEDUP"

    def __init__(self, folder: Path, num_tasks: int) -> None:
        super().__init__()
        self.folder, self.num_tasks = folder, num_tasks

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Do the ``rank``-th of ``world_size`` parts of the work."""
        assert data is None, f"expected {self.name} as the first step of its pipeline"
        with self.track_time():
            self.work(rank, world_size)

    def work(self, part: int, num_parts: int) -> None:
        """Do one part of the work."""
        raise NotImplementedError
