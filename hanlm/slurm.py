"""Handing a script to Slurm, and why Slurm refused it."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hanlm.errors import ConfigError

_COMMAND_SECONDS = 120.0


def submit(script: Path, options: Sequence[str] = ()) -> str:
    """Hand a script to sbatch and return the job's number.

    Raises:
        ConfigError: If Slurm refuses it; says why.
    """
    asked = ask(["sbatch", *options, str(script)])
    number = re.search(r"(\d+)\s*$", asked.stdout)
    if asked.returncode or number is None:
        raise ConfigError(
            f"Slurm refused a job: {why(asked)}; mend the keys of `slurm` in the configuration (what was asked for "
            f"stands in {script})."
        )
    return number[1]


def ask(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands; one that does not answer in two minutes has failed.

    Raises:
        ConfigError: If Slurm's commands are not installed here.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except FileNotFoundError:
        raise ConfigError(
            f"expected Slurm's commands, got no {command[0]} on the PATH; run on a login node of the cluster, or "
            "choose local instead of slurm."
        ) from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not answer in {_COMMAND_SECONDS:g} s")


def why(asked: subprocess.CompletedProcess[str]) -> str:
    """Return what a command of Slurm's that failed said, in one line."""
    said = (asked.stderr or asked.stdout).strip().splitlines()
    return (
        " ".join(re.sub(r"^(sbatch|squeue): (error|fatal): ", "", line) for line in said)
        or f"exit code {asked.returncode}"
    )
