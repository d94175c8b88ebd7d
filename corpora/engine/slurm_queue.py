"""Slurm's own commands: ask what is queued, cancel."""

from collections.abc import Iterable
from dataclasses import dataclass

from hanlm.errors import ConfigError
from hanlm.slurm import ask, why

_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED")


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuedTask:
    """One task of a job array, as squeue lists it."""

    job: str
    """Name of the job."""
    index: int
    """In its array."""
    state: str
    """Such as ``PENDING``, ``RUNNING``, ``OUT_OF_MEMORY``."""
    reason: str
    """Why it waits."""

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return self.state in _WAITING


def list_tasks(prefix: str, *, ended_too: bool = False) -> list[QueuedTask] | None:
    """Return this user's tasks that wait, run or are ending, out of jobs whose names begin with ``prefix``.

    Slurm forgets a task that has ended after a while (``MinJobAge``, five minutes by default).

    Args:
        prefix: Of the jobs' names.
        ended_too: Whether to list tasks that have ended, as far as Slurm remembers them.

    Returns:
        None where Slurm does not answer now, as while its controller restarts.
    """
    states = ["--states=all"] if ended_too else []
    asked = ask(["squeue", "--me", "--noheader", "--array", *states, "--format=%j|%K|%T|%r"])
    if asked.returncode:
        return None
    rows = (line.split("|", 3) for line in asked.stdout.splitlines() if line.startswith(prefix))
    return [
        QueuedTask(job=job, index=int(index), state=state, reason=reason)
        for job, index, state, reason in rows
        if index.isdecimal()
    ]


def require_answer() -> None:
    """Raise ``ConfigError`` if Slurm does not answer at all: nobody is to wait for a cluster that is not there."""
    asked = ask(["squeue", "--me", "--noheader"])
    if asked.returncode:
        raise ConfigError(
            f"expected squeue to answer for --executor slurm, got: {why(asked)}; run on a login node of the cluster "
            "(again, if its controller restarts now), or use --executor local."
        )


def cancel(jobs: Iterable[str]) -> None:
    """Cancel the jobs of these names, whatever their tasks do at the moment."""
    for job in jobs:
        ask(["scancel", f"--name={job}"])
