"""How many tasks a step is cut into, and what all steps share."""

from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

BUCKET_BYTES = 256_000_000
"""Records that one finding task is to hold; sorting takes about three times as much memory."""

# Winnowing writes the most: 20 bytes for every 25 characters, which in ASCII are 25 bytes.
_RECORD_BYTES_PER_TEXT_BYTE = 0.8


def num_finding_tasks(num_text_bytes: int) -> int:
    """Return the tasks for finding exact copies, lines or substrings in so many bytes of text (before compression)."""
    return 1 + int(num_text_bytes * _RECORD_BYTES_PER_TEXT_BYTE // BUCKET_BYTES)


class DedupStep(PipelineStep):
    """A step that reads and writes files of the dedup folder and takes no documents.

    Each task writes its own files whole, so running one again changes nothing.
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
