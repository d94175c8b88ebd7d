"""Where the tasks of a pipeline run."""

from dataclasses import dataclass, field, replace
from typing import Literal

from hanlm.errors import ConfigError

_BYTES_WORTH_A_WORKER = 32 * 2**20

type ExecutorName = Literal["local", "slurm", "ray"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmConfig:
    """What Slurm is asked for; the names are those of ``sbatch``."""

    partition: str = ""
    """Partition of the jobs; needed with `executor: slurm`."""
    time: str = "24:00:00"
    """Longest time of one task."""
    cpus_per_task: int = 1
    """Processors of one task; more only to be given more memory."""
    mem_per_cpu_gb: int = 4
    """Memory of one processor, in GB."""
    qos: str | None = None
    """Quality of service."""
    env_command: str | None = None
    """Shell command that activates the environment on the nodes, such as `source /shared/venv/bin/activate`."""
    sbatch_args: dict[str, str] | None = None
    """Further options of sbatch, such as `account: project`."""

    def __post_init__(self) -> None:
        if self.cpus_per_task < 1 or self.mem_per_cpu_gb < 1:
            raise ConfigError("expected slurm.cpus_per_task and slurm.mem_per_cpu_gb of at least 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """How many tasks run at a time, and where."""

    executor: ExecutorName = "local"
    """``local``: processes of this machine; ``slurm`` and ``ray``: a cluster with a shared file system."""
    workers: int
    """Tasks at a time."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    """With ``slurm`` alone."""


def for_little(config: EngineConfig, num_bytes: int) -> EngineConfig:
    """Return the configuration with no more workers than a small amount of text can keep busy.

    Starting a process costs about as much as finding the copies in 32 MB of text.
    """
    return replace(config, workers=min(config.workers, 1 + num_bytes // _BYTES_WORTH_A_WORKER))
