"""A Slurm cluster of one node, this machine, for the length of a test: its own munged, slurmctld and slurmd."""

import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
_CGROUP_PLUGINS = ("disabled", "autodetect")
"""Slurm 23 can do without control groups; 22 has to look at them, though nothing of ours asks it to use them."""
_START_SECONDS = 60.0

_CONFIGURATION = """\
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SlurmUnavailable(Exception):  # noqa: N818  (a state of the machine)
    """Why there is no Slurm to test with."""


class SlurmCluster:
    """Daemons that run until ``close``; their logs lie in ``folder``.

    Raises:
        SlurmUnavailable: If Slurm is not installed, or would not start; says what it said.
    """

    def __init__(self) -> None:
        os.environ["PATH"] += ":/usr/sbin"  # where Debian keeps the daemons
        if missing := [name for name in _COMMANDS if shutil.which(name) is None]:
            raise SlurmUnavailable(f"no {', '.join(missing)} here (Debian: apt-get install slurm-wlm munge)")
        if os.geteuid() != 0:
            raise SlurmUnavailable("its daemons have to be started by root")
        # munge wants every folder on the way to its socket open to all, which pytest's are not.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self._daemons: list[subprocess.Popen[bytes]] = []
        try:
            self._configure()
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def env(self) -> dict[str, str]:
        """What Slurm's commands need to find it."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def close(self) -> None:
        """End the daemons, and what they started."""
        with suppress(FileNotFoundError, subprocess.TimeoutExpired):
            subprocess.run(["scancel", "--me"], env=os.environ | self.env, timeout=10, check=False, capture_output=True)
            deadline = time.monotonic() + 15
            while self.ask("squeue", "--noheader").strip() and time.monotonic() < deadline:
                time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm's prints."""
        return subprocess.run(
            command, env=os.environ | self.env, timeout=30, check=False, capture_output=True, text=True
        ).stdout

    def _configure(self) -> None:
        self.folder.chmod(0o755)
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge/key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        text = _CONFIGURATION.format(
            host=platform.node().partition(".")[0],
            folder=self.folder,
            controller_port=_free_port(),
            node_port=_free_port(),
            cpus=os.cpu_count(),
        )
        (self.folder / "slurm.conf").write_text(text)

    def _start(self) -> None:
        munge = self.folder / "munge"
        options = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
        self._daemon("munged", "--foreground", f"--socket={munge / 'socket'}", *options)
        self._await((munge / "socket").exists, "munged")
        self._daemon("slurmctld", "-D", "-i")
        for plugin in _CGROUP_PLUGINS:
            (self.folder / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")
            node = self._daemon("slurmd", "-D", "-N", platform.node().partition(".")[0])
            with suppress(subprocess.TimeoutExpired):
                node.wait(timeout=2)
            if node.poll() is None:
                break
            self._daemons.remove(node)
        else:
            raise SlurmUnavailable(f"slurmd does not start: {self._said('slurmd')}")
        self._await(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"), "slurmctld")

    def _daemon(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        log: IO[bytes]
        with (self.folder / f"{name}.out").open("wb") as log:
            daemon = subprocess.Popen(
                [name, *words], env=os.environ | self.env, stdout=log, stderr=log, start_new_session=True
            )
        self._daemons.append(daemon)
        return daemon

    def _await(self, condition: Callable[[], Any], name: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not condition():
            if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in self._daemons):
                raise SlurmUnavailable(f"{name} does not come up: {self._said(name)}")
            time.sleep(0.1)

    def _said(self, name: str) -> str:
        lines = (self.folder / f"{name}.out").read_text(errors="replace").splitlines()
        return " | ".join(lines[-4:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
