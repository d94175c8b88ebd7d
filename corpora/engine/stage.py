"""A stage: one pipeline run over many tasks, each of which is done once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What an executor of datatrove's needs to know.

    Task ``r`` of ``num_tasks`` runs the whole pipeline on its own share of the work and writes files that no other
    task writes. Its work must depend on nothing but ``r`` and the files of earlier stages, so that it can be done
    again anywhere.
    """

    name: str
    """Also the name of the folder that holds its logs, statistics and completion marks."""
    pipeline: Sequence[Any]
    """datatrove's ``PipelineStep`` objects; they travel to worker processes by pickle."""
    num_tasks: int

    def folder(self, work: Path) -> Path:
        """Return where its logs, statistics and completion marks lie."""
        return work / "stages" / self.name
