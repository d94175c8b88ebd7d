"""What every launcher needs of a run: its configuration as a file, the command of a node, the environment."""

import dataclasses
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hanlm.config import to_plain
from hanlm.environment import this_environment
from hanlm.files import replace_text
from hanlm.nodes import START_SECONDS
from hanlm.publish import work_folder
from pretrain.config import PretrainConfig
from pretrain.launch.config import ClusterConfig, LauncherName, job_name, processes_per_node


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A training to be launched."""

    config: PretrainConfig
    launcher: LauncherName
    nodes: int
    gpus_per_node: int
    cluster: ClusterConfig

    @property
    def processes(self) -> int:
        """How many run on a node."""
        return processes_per_node(self.gpus_per_node, self.cluster)

    @property
    def folder(self) -> Path:
        """Where script, configuration and logs lie: ``OUT.work/launch``, on storage that all nodes share."""
        return work_folder(self.config.out).absolute() / "launch"

    @property
    def name(self) -> str:
        return job_name(self.config.out)

    def settings(self) -> str:
        """Return the run's configuration in YAML, without the launch, all paths absolute."""
        patience = ClusterConfig(start_seconds=self.cluster.start_seconds, step_seconds=self.cluster.step_seconds)
        plain = changed(dataclasses.replace(self.config, launch=None, nodes=1, gpus_per_node=None, cluster=patience))
        for name in ("model", "out"):
            plain[name] = str(Path(plain[name]).absolute())
        plain["tokens"] = [str(Path(path).absolute()) for path in plain["tokens"]]
        return yaml.safe_dump(plain, allow_unicode=True, sort_keys=False)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the job and return its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(self.folder / name, text)
        return self.folder / name

    def environment(self) -> dict[str, str]:
        """Return the variables of every process."""
        env = {
            "OMP_NUM_THREADS": str(self.cluster.threads),
            "PYTHONUNBUFFERED": "1",
            START_SECONDS: f"{self.cluster.start_seconds:g}",
        }
        if self.gpus_per_node:
            env |= {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "NCCL_DEBUG": "WARN", "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}
        else:
            env["CUDA_VISIBLE_DEVICES"] = ""
        if self.cluster.interface:
            env |= {"NCCL_SOCKET_IFNAME": self.cluster.interface, "GLOO_SOCKET_IFNAME": self.cluster.interface}
        return env | self.cluster.env

    def setup(self) -> list[str]:
        """Return the lines of shell that come before the command on a node."""
        lines = [self.cluster.setup] if self.cluster.setup else this_environment()
        return lines + [f"export {name}={shlex.quote(value)}" for name, value in self.environment().items()]

    def patience(self) -> str:
        """Return how long torchrun's rendezvous waits, for a node and for an answer of its store (by default 60 s)."""
        cluster = self.cluster
        return f"join_timeout={cluster.start_seconds:.0f},read_timeout={max(1, min(60, cluster.step_seconds)):.0f}"

    def python(self) -> str:
        """Return the interpreter of the nodes: this one, or the one of the environment that they activate."""
        return "python" if self.cluster.setup or self.launcher == "kubernetes" else sys.executable


def changed(config: Any) -> dict[str, Any]:
    """Return the keys of a configuration whose values are not the defaults, nested ones too, as plain YAML values."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if value == default:
            continue
        nested = dataclasses.is_dataclass(value) and not isinstance(value, type)
        found[f.name] = changed(value) if nested else to_plain(value)
    return found
