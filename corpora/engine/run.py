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
        ConfigError: If jobs that an earlier try gave to Slurm are still queued, and it is to run elsewhere now.
        Interrupted: If it was stopped; the same call goes on from the completed tasks.
        HanLMError: What a task raised.
    """
    refuse_if_stopped()
    folder = stage.folder(work)
    if config.executor != "slurm":
        refuse_queued_jobs(folder.parent)
    with followed(folder, stage.num_tasks, f"corpus build: {stage.name}"):
        _executor(stage, config, folder).run()
    return stage_counts(folder, stage.num_tasks)


def refuse_queued_jobs(stages: Path) -> None:
    """Raise ``ConfigError`` if jobs that an earlier try gave to Slurm are still queued: they write into ``stages``."""
    if next(stages.glob("*/jobs/*.json"), None) is not None:
        from corpora.engine.slurm import refuse_queued

        refuse_queued(stages)


def _executor(stage: Stage, config: EngineConfig, folder: Path) -> Any:
    pipeline, tasks, workers = stage.pipeline, stage.num_tasks, config.workers
    match config.executor:
        case "local":
            from corpora.engine.local import LocalExecutor

            return LocalExecutor(list(pipeline), tasks=tasks, workers=workers, logging_dir=str(folder))
        case "slurm":
            from corpora.engine.slurm import SlurmExecutor

            return SlurmExecutor(pipeline, tasks=tasks, workers=workers, config=config.slurm, logging_dir=folder)
        case "ray":
            from corpora.engine.ray import RayExecutor

            return RayExecutor(pipeline, tasks=tasks, workers=workers, logging_dir=folder)
