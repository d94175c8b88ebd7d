"""What the launchers are told: cluster, resources, patience."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hanlm.errors import ConfigError
from hanlm.nodes import DEFAULT_START_SECONDS

type LauncherName = Literal["local", "slurm", "kubernetes", "ssh"]

_HOST = re.compile(r"(?:\w[\w.-]*@)?\w[\w.:-]*")
_POD_NAME = re.compile(r"[a-z]([-a-z0-9]{0,40}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmOptions:
    """What Slurm is asked for; the names are those of ``sbatch``."""

    partition: str = ""
    """Partition of the job; without it Slurm's default."""
    account: str = ""
    """Account that pays."""
    qos: str = ""
    """Quality of service."""
    time: str = "24:00:00"
    """Longest time of one start; the job is queued again until it has finished."""
    cpus_per_task: int | None = None
    """Processors of a node for the job; by default processes x threads."""
    save_seconds: int = 300
    """How long before the end of its time the job is told to save."""
    restart: Literal["requeue", "array"] = "requeue"
    """How a stopped job goes on: requeued under its number, or, where a site forbids that, as the next task of a job
    array whose tasks run one at a time."""
    max_requeues: int = 100
    """Starts after the first one; with array the length of the array is one more."""
    sbatch_args: dict[str, str] = field(default_factory=dict[str, str])
    """Further options of sbatch, such as `constraint: h100`; one with an empty value is a flag."""

    def __post_init__(self) -> None:
        if (self.cpus_per_task is not None and self.cpus_per_task < 1) or self.save_seconds < 1:
            raise ConfigError("expected cluster.slurm.cpus_per_task and save_seconds of at least 1.")
        if self.max_requeues < 0:
            raise ConfigError(f"expected cluster.slurm.max_requeues of at least 0, got {self.max_requeues}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class KubernetesOptions:
    """What a PyTorchJob of Kubeflow's training operator is made of."""

    image: str = ""
    """Container image in which `python -m hanlm` runs."""
    namespace: str = "default"
    """Namespace of the job."""
    name: str = ""
    """Name of the job; by default made from --out."""
    claim: str = ""
    """Persistent volume claim (ReadWriteMany) that holds model, tokens and OUT."""
    mount: str = ""
    """Where the claim appears in the containers; --model, --tokens and --out are paths below it."""
    cpus: str = ""
    """Processors of a pod, such as `64`."""
    memory: str = ""
    """Memory of a pod, such as `512Gi`."""
    shared_memory: str = "64Gi"
    """Size of /dev/shm, through which the processes of a pod talk."""
    save_seconds: int = 300
    """How long a pod that has to go may save."""

    def __post_init__(self) -> None:
        if self.name and not _POD_NAME.fullmatch(self.name):
            raise ConfigError(
                f"expected cluster.kubernetes.name of at most 42 small letters, digits and hyphens, got {self.name!r}."
            )
        if bool(self.claim) != bool(self.mount):
            raise ConfigError("cluster.kubernetes needs claim and mount together: which volume, and where it appears.")
        if self.mount and not self.mount.startswith("/"):
            raise ConfigError(f"expected cluster.kubernetes.mount to begin with /, got {self.mount!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SshOptions:
    """Machines that this one reaches over ssh without a password."""

    hosts: tuple[str, ...] = ()
    """HOST or USER@HOST; the names must mean the same on every host, as the hosts call each other by them."""
    command: str = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15"
    """What runs a shell command on a host: it is given the host and one more word."""

    def __post_init__(self) -> None:
        if bad := [host for host in self.hosts if not _HOST.fullmatch(host)]:
            raise ConfigError(f"expected cluster.ssh.hosts to be HOST or USER@HOST, got {bad[0]!r}.")
        if len(set(self.hosts)) < len(self.hosts):
            raise ConfigError("cluster.ssh.hosts names a host twice; each one runs one agent.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """How processes are started, and how long they wait for each other."""

    processes_per_node: int | None = None
    """Processes of a node; by default one for each GPU, or one on a node without."""
    threads: int = 1
    """OMP_NUM_THREADS of a process; on nodes without GPUs cores / processes."""
    port: int = 29500
    """Port of the rendezvous on the first node; the next one is used too. Slurm: 20000 to 59999 by the job's number."""
    interface: str = ""
    """Network interface between the nodes (NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME), such as `eth0` or `ib0`."""
    env: dict[str, str] = field(default_factory=dict[str, str])
    """Further environment variables of every process, such as `NCCL_IB_HCA: mlx5`."""
    setup: str = ""
    """Shell command that activates the environment on the nodes, such as `source /shared/venv/bin/activate`; without
    it they run the very interpreter that runs this command."""
    restarts: int = 3
    """How often processes that crashed are started again on the nodes that the job has, before it fails."""
    start_seconds: float = DEFAULT_START_SECONDS
    """How long the nodes wait for the last one, which is named then."""
    step_seconds: float = 1800.0
    """How long a process waits within a step for one that may have been cut off, before the run fails and restarts."""
    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    """With --launch slurm."""
    kubernetes: KubernetesOptions = field(default_factory=KubernetesOptions)
    """With --launch kubernetes."""
    ssh: SshOptions = field(default_factory=SshOptions)
    """With --launch ssh."""

    def __post_init__(self) -> None:
        for name in ("processes_per_node", "threads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"expected cluster.{name} of at least 1, got {value}.")
        if not 1024 <= self.port <= 65534:
            raise ConfigError(f"expected cluster.port between 1024 and 65534, got {self.port}.")
        if self.restarts < 0:
            raise ConfigError(f"expected cluster.restarts of at least 0, got {self.restarts}.")
        if self.start_seconds <= 0 or self.step_seconds <= 0:
            raise ConfigError("expected cluster.start_seconds and cluster.step_seconds above 0.")


def check_launch(launch: LauncherName | None, nodes: int, gpus_per_node: int | None, cluster: ClusterConfig) -> None:
    """Refuse what does not fit together.

    Raises:
        ConfigError: Says which flag.
    """
    if nodes < 1 or (gpus_per_node or 0) < 0:
        raise ConfigError(
            f"expected --nodes of at least 1 and --gpus-per-node of at least 0, got {nodes}, {gpus_per_node}."
        )
    if launch is None:
        if nodes > 1 or gpus_per_node is not None:
            raise ConfigError(
                "--nodes and --gpus-per-node say what to launch; add --launch local, slurm, kubernetes or ssh."
            )
        return
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("--launch starts the processes itself; leave torchrun away, or --launch.")
    if gpus_per_node is None:
        raise ConfigError("--launch needs --gpus-per-node (0 on nodes without GPUs).")
    if launch == "local" and nodes > 1:
        raise ConfigError(
            f"--launch local is this machine alone, got --nodes {nodes}; choose slurm, kubernetes or ssh."
        )
    if launch == "ssh" and len(cluster.ssh.hosts) != nodes:
        raise ConfigError(
            f"--launch ssh needs as many --cluster.ssh.hosts as --nodes, got {len(cluster.ssh.hosts)} and {nodes}."
        )
    if launch == "kubernetes" and not cluster.kubernetes.image:
        raise ConfigError("--launch kubernetes needs --cluster.kubernetes.image, in which `python -m hanlm` runs.")


def processes_per_node(gpus_per_node: int | None, cluster: ClusterConfig) -> int:
    """Return how many processes a node runs."""
    return cluster.processes_per_node or gpus_per_node or 1


def job_name(out: Path) -> str:
    """Return a name for the job that trains ``out``, fit for a pod too."""
    return ("hanlm-" + re.sub(r"[^a-z0-9]+", "-", out.name.lower()).strip("-"))[:40].rstrip("-")
