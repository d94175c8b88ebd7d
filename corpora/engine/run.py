"""Running stages one after the other, wherever they are to run; what is completed is not done again."""

from pathlib import Path
from typing import Any

from corpora.engine.config import EngineConfig
from corpora.engine.counts import StepCounts, stage_counts
from corpora.engine.stage import Stage
from corpora.engine.stopping import refuse_if_stopped
from corpora.engine.ticks import followed


def run_stage(stage: Stage, config: EngineConfig, work: Path) -> tuple[StepCounts, ...]:
    """Run what is not completed of a stage's tasks, wait for it, and return what its steps counted.

    Args:
        stage: The pipeline and its tasks.
        config: Where and how many at a time.
        work: Folder on a file system that every worker sees.

    Raises:
        Interrupted: If it was stopped; the same call goes on from the completed tasks.
        HanLMError: What a task raised.
    """
    refuse_if_stopped()
    folder = stage.folder(work)
    with followed(folder, stage.num_tasks, f"corpus build: {stage.name}"):
        _executor(stage, config, folder).run()
    return stage_counts(folder, stage.num_tasks)


def _executor(stage: Stage, config: EngineConfig, folder: Path) -> Any:
    from corpora.engine.local import LocalExecutor

    return LocalExecutor(list(stage.pipeline), tasks=stage.num_tasks, workers=config.workers, logging_dir=str(folder))
