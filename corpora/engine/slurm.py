"""Tasks as job arrays of Slurm's, waited for by the command that submitted them, or by its next try."""

import copy
import json
import os
import pickle
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, override

from datatrove.executor.slurm import SlurmPipelineExecutor

from corpora.engine.config import SlurmConfig
from corpora.engine.failures import first_failure, forget_failure, keep_failure
from corpora.engine.marks import DurableMarks
from corpora.engine.slurm_queue import QueuedTask, cancel, list_tasks
from corpora.engine.stopping import refuse_if_stopped
from hanlm.environment import this_environment
from hanlm.errors import ArtifactError, ConfigError, Interrupted
from hanlm.files import replace_text
from hanlm.log import say
from hanlm.slurm import submit

_FIRST_POLL_SECONDS = 0.5
_TICK_SECONDS = 0.2


class SlurmExecutor(DurableMarks, SlurmPipelineExecutor):
    """datatrove's Slurm executor, which submits and leaves, made to wait, and to know its jobs again.

    A job is known by its name: ``hanlm-BUILD-STAGE-RANDOM``, where BUILD is a hash of the build's folder. Which tasks
    it holds is written to ``jobs/NAME.json`` before it is submitted, so that no kill can lose a job.

    Args:
        pipeline: The steps.
        tasks: Number of tasks.
        workers: Tasks at a time.
        config: What Slurm is asked for.
        logging_dir: Of the stage, in a folder that every node sees.
    """

    def __init__(
        self, pipeline: Sequence[Any], *, tasks: int, workers: int, config: SlurmConfig, logging_dir: Path
    ) -> None:
        self.folder = logging_dir.absolute()
        super().__init__(
            list(pipeline),
            tasks=tasks,
            workers=workers,
            time=config.time,
            partition=config.partition,
            cpus_per_task=config.cpus_per_task,
            mem_per_cpu_gb=config.mem_per_cpu_gb,
            qos=config.qos or "",
            env_command=config.env_command or "; ".join(this_environment()),
            sbatch_args=dict(config.sbatch_args or {}),
            max_array_size=config.max_array_size,
            logging_dir=str(self.folder),
            requeue_signals=None,
        )
        self.config = config
        self.build = _prefix(self.folder.parent)
        self.array: list[int] | None = None
        """In a copy that a job loads: the tasks of its array."""

    @override
    def run(self) -> None:
        """Submit what is neither completed nor queued, and wait for it; within a job, run the one task that it is for.

        Raises:
            HanLMError: What a task failed with; the others are cancelled.
            Interrupted: If a signal asked to stop (the jobs go on), or Slurm ended tasks before they were completed.
        """
        if self.array is not None:
            self._run_in_job(self.array[int(os.environ["SLURM_ARRAY_TASK_ID"])])
        elif self.get_incomplete_ranks():
            self._cancel_strangers()
            self._submit_and_wait()

    def _run_in_job(self, rank: int) -> None:
        try:
            self._run_for_rank(rank)
        except Exception as error:
            keep_failure(self.folder, rank, error)
            raise

    @override
    def mark_rank_as_completed(self, rank: int) -> None:
        """Mark the task, unless the build that this job belongs to was removed and begun anew meanwhile."""
        if not self._list_of(self.job_name).is_file():
            raise ArtifactError(f"job {self.job_name} belongs to a build that is no longer there; nothing is to do.")
        super().mark_rank_as_completed(rank)

    def _cancel_strangers(self) -> None:
        """End jobs of a build that was in this folder and is gone: they would write among our files."""
        known = {path.stem for path in self.folder.parent.glob("*/jobs/*.json")}
        while strangers := {task.job for task in self._queued(self.build) if task.job not in known}:
            say(f"cancelling jobs of an earlier build in this folder: {', '.join(sorted(strangers))}")
            cancel(strangers)
            _pause(self.config.poll_seconds)

    def _queued(self, prefix: str) -> list[QueuedTask]:
        """Return what is queued, however long Slurm takes to answer."""
        told = False
        while (tasks := list_tasks(prefix)) is None:
            if not told:
                say("Slurm does not answer squeue; asking again until it does")
            told = True
            _pause(self.config.poll_seconds)
        return tasks

    def _submit_and_wait(self) -> None:
        submitted: set[int] = set()
        ended_at: float | None = None
        reasons: set[str] = set()
        pause = _FIRST_POLL_SECONDS
        try:
            while True:
                queued = self._queued(self._stage)
                going = {rank for rank, _ in self._ranks_of(queued)}
                missing = self.get_incomplete_ranks()
                if new := [rank for rank in missing if rank not in going | submitted]:
                    submitted.update(new)
                    self._submit(new)
                    ended_at = None
                    continue
                if (failure := first_failure(self.folder, missing)) is not None:
                    cancel({task.job for task in queued})
                    raise failure
                if not queued:
                    if not missing:
                        return
                    ended_at = ended_at or time.monotonic()
                    if time.monotonic() - ended_at >= self.config.settle_seconds:
                        raise self._lost(missing)
                reasons = _tell_reasons(queued, reasons)
                _pause(pause)
                pause = min(self.config.poll_seconds, 1.5 * pause)
        except Interrupted as error:
            if going := list_tasks(self._stage):
                jobs = sorted({task.job for task in going})
                raise Interrupted(
                    f"stopped waiting; {len(going)} tasks are still queued in Slurm and go on: run the same command "
                    f"again to wait for them, or end them with: scancel --name={','.join(jobs)}"
                ) from error
            raise

    @property
    def _stage(self) -> str:
        return f"{self.build}{self.folder.name}-"

    def _ranks_of(self, tasks: Sequence[QueuedTask]) -> Iterator[tuple[int, QueuedTask]]:
        arrays = {job: json.loads(self._list_of(job).read_text()) for job in {task.job for task in tasks}}
        return ((arrays[task.job][task.index], task) for task in tasks)

    def _list_of(self, job: str) -> Path:
        return self.folder / f"jobs/{job}.json"

    def _log(self, job: str, index: int | str) -> Path:
        return self.folder / f"slurm_logs/{job}_{index}.out"

    def _submit(self, ranks: Sequence[int]) -> None:
        """Submit the tasks as arrays of at most ``max_array_size``, each of which begins when the one before ended."""
        for rank in ranks:
            forget_failure(self.folder, rank)
        self.job_id = None
        for first in range(0, len(ranks), self.max_array_size):
            script = self.write_job(ranks[first : first + self.max_array_size])
            after = [f"--dependency={self.dependency}"] if self.dependency else []
            try:
                self.job_id = submit(script, after)
            except BaseException:
                self._list_of(script.stem).unlink()
                raise

    def write_job(self, ranks: Sequence[int]) -> Path:
        """Write down an array of tasks: their list, the executor that its jobs load, the script; return the last."""
        inside = copy.copy(self)
        inside.job_name = f"{self._stage}{secrets.token_hex(4)}"
        inside.array = list(ranks)
        listed = self._list_of(inside.job_name)
        listed.parent.mkdir(parents=True, exist_ok=True)
        loaded = listed.with_suffix(".pik")
        loaded.write_bytes(pickle.dumps(inside))
        command = f"launch_pickled_pipeline {shlex.quote(str(loaded))}"
        script = listed.with_suffix(".slurm")
        script.write_text(
            inside.get_launch_file_contents(inside.get_sbatch_args(len(ranks)), command), encoding="utf-8"
        )
        replace_text(listed, json.dumps(list(ranks)))
        return script

    @override
    def get_sbatch_args(self, max_array: int = 1) -> dict[str, Any]:
        """Return the options of sbatch for an array of ``max_array`` tasks; those with an empty value are flags."""
        args: dict[str, Any] = super().get_sbatch_args(max_array)
        log = str(self._log(self.job_name, "")).replace("%", "%%").removesuffix(".out") + "%a.out"
        args |= {name: log for name in ("output", "error") if name not in self._sbatch_args}
        if not args["partition"]:
            del args["partition"]
        return {name: _quoted(str(value)) for name, value in args.items()}

    def _lost(self, missing: Sequence[int]) -> Interrupted:
        """Return what to raise where tasks have ended without a mark and without an error of theirs."""
        wanted = missing[0]
        ended = [*self._ranks_of(list_tasks(self._stage, ended_too=True) or [])]
        found = [task for rank, task in ended if rank == wanted]
        state = f" ({found[-1].state})" if found else ""
        log = next((self._log(job, i) for job, i in self._places(wanted)), self.folder / "slurm_logs")
        return Interrupted(
            f"Slurm ended {len(missing)} of {self.tasks} tasks before they were completed, the first is task "
            f"{wanted}{state}; look at its log {log}, give it more with `slurm: {{time: …, mem_per_cpu_gb: …}}` if it "
            "ran out of either, and run the same command again: finished tasks are kept."
        )

    def _places(self, rank: int) -> Iterator[tuple[str, int]]:
        """Yield the job and the index in its array of every try of a task, the last one first."""
        lists = sorted((self.folder / "jobs").glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in lists:
            ranks: list[int] = json.loads(path.read_text())
            if rank in ranks:
                yield path.stem, ranks.index(rank)


def refuse_queued(stages: Path) -> None:
    """Raise ``ConfigError`` if jobs of the build whose stages lie in ``stages`` are still queued: they write there."""
    tasks = list_tasks(_prefix(stages.absolute()))
    if tasks is None:
        raise ConfigError(
            f"tasks of this build were given to Slurm, which does not answer now; try again, or remove {stages.parent} "
            "if that cluster is gone."
        )
    if tasks:
        jobs = ",".join(sorted({task.job for task in tasks}))
        raise ConfigError(
            f"{len(tasks)} tasks of this build are still queued in Slurm; go on with --executor slurm, or end them "
            f"first with: scancel --name={jobs}"
        )


def _prefix(stages: Path) -> str:
    return f"hanlm-{sha256(str(stages).encode()).hexdigest()[:10]}-"


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '\\"') + '"' if any(c.isspace() for c in value) else value


def _tell_reasons(queued: Sequence[QueuedTask], told: set[str]) -> set[str]:
    """Say why nothing runs, once for each set of reasons."""
    if not queued or not all(task.waits for task in queued):
        return told
    reasons = {task.reason for task in queued} - {"None"}
    if reasons and reasons != told:
        say(f"{len(queued)} tasks wait in Slurm: {', '.join(sorted(reasons))}")
    return reasons or told


def _pause(seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        refuse_if_stopped()
        time.sleep(min(_TICK_SECONDS, left))
