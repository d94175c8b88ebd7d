"""Slurm's own commands: submit an array of tasks, ask what is queued, cancel."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanlm.errors import ConfigError

_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED")
_COMMAND_SECONDS = 120.0


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
    asked = _run(["squeue", "--me", "--noheader", "--array", *states, "--format=%j|%K|%T|%r"])
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
    asked = _run(["squeue", "--me", "--noheader"])
    if asked.returncode:
        raise ConfigError(
            f"expected squeue to answer for --executor slurm, got: {_why(asked)}; run on a login node of the cluster "
            "(again, if its controller restarts now), or use --executor local."
        )


def submit(script: Path, options: Sequence[str] = ()) -> str:
    """Hand a script to sbatch and return the job's number.

    Raises:
        ConfigError: If Slurm refuses it; says why.
    """
    asked = _run(["sbatch", *options, str(script)])
    number = re.search(r"(\d+)\s*$", asked.stdout)
    if asked.returncode or number is None:
        raise ConfigError(
            f"Slurm refused a job: {_why(asked)}; mend the keys of `slurm` in the configuration (what was asked for "
            f"stands in {script})."
        )
    return number[1]


def cancel(jobs: Iterable[str]) -> None:
    """Cancel the jobs of these names, whatever their tasks do at the moment."""
    for job in jobs:
        _run(["scancel", f"--name={job}"])


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except FileNotFoundError:
        raise ConfigError(
            f"expected Slurm's commands for --executor slurm, got no {command[0]} on the PATH; run on a login node of "
            "the cluster, or use --executor local."
        ) from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not answer in {_COMMAND_SECONDS:g} s")


def _why(asked: subprocess.CompletedProcess[str]) -> str:
    said = (asked.stderr or asked.stdout).strip().splitlines()
    return (
        " ".join(re.sub(r"^(sbatch|squeue): (error|fatal): ", "", line) for line in said)
        or f"exit code {asked.returncode}"
    )
