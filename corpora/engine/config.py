"""Where the tasks of a pipeline run."""

import shutil
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Literal

from hanlm.errors import ConfigError

_BYTES_WORTH_A_WORKER = 32 * 2**20

type ExecutorName = Literal["local", "slurm", "ray"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmConfig:
    """What Slurm is asked for; the names are those of ``sbatch``."""

    partition: str = ""
    """Partition of the jobs; without it Slurm's default."""
    time: str = "24:00:00"
    """Longest time of one task."""
    cpus_per_task: int = 1
    """Processors of one task; more only to be given more memory."""
    mem_per_cpu_gb: int = 4
    """Memory of one processor, in GB."""
    qos: str | None = None
    """Quality of service."""
    env_command: str | None = None
    """Shell command that activates the environment on the nodes, such as `source /shared/venv/bin/activate`; without
    it they run the very interpreter that runs the command."""
    sbatch_args: dict[str, str] | None = None
    """Further options of sbatch, such as `account: project`; one with an empty value is a flag."""
    max_array_size: int = 1001
    """Tasks of one job array, at most Slurm's own `MaxArraySize`; more tasks become several arrays, one after the
    other."""
    poll_seconds: float = 10.0
    """How often Slurm is asked how far the tasks are."""
    settle_seconds: float = 90.0
    """How long a file that another node wrote may stay unseen (NFS keeps lists of names for up to 60 s)."""

    def __post_init__(self) -> None:
        for name in ("cpus_per_task", "mem_per_cpu_gb", "max_array_size"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"expected slurm.{name} of at least 1, got {value}.")
        if self.poll_seconds <= 0 or self.settle_seconds < 0:
            raise ConfigError(
                "expected slurm.poll_seconds above 0 and slurm.settle_seconds of at least 0, got "
                f"{self.poll_seconds} and {self.settle_seconds}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """How many tasks run at a time, and where."""

    executor: ExecutorName = "local"
    """``local``: processes of this machine; ``slurm`` and ``ray``: a cluster with a shared file system."""
    workers: int
    """Tasks at a time."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    """With ``slurm`` alone."""

    def __post_init__(self) -> None:
        if self.executor == "ray" and find_spec("ray") is None:
            raise ConfigError("executor ray needs the package: pip install 'hanlm[ray]'.")
        if self.executor == "slurm" and shutil.which("sbatch") is None:
            raise ConfigError(
                "expected Slurm's commands for --executor slurm, got no sbatch on the PATH; run on a login node of the "
                "cluster, or use --executor local."
            )


def for_little(config: EngineConfig, num_bytes: int) -> EngineConfig:
    """Return the configuration with no more workers than a small amount of text can keep busy.

    Starting a process costs about as much as finding the copies in 32 MB of text; what one worker does best is not
    worth a trip to a cluster either.
    """
    workers = min(config.workers, 1 + num_bytes // _BYTES_WORTH_A_WORKER)
    near = num_bytes < _BYTES_WORTH_A_WORKER
    return replace(config, workers=workers, executor="local" if near else config.executor)
