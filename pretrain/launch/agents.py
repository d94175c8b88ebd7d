"""Agents that this process starts and watches: one here, or one on each host over ssh."""

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hanlm.errors import HanLMError, Interrupted
from hanlm.launch import shell_code
from hanlm.log import say
from hanlm.nodes import NODE, NODES
from hanlm.signals import StopRequest, stop_on_signal
from hanlm.stuck_agent import END_WITH_STDIN
from pretrain.launch.job import Job

_TICK_SECONDS = 0.2
_END_SECONDS = 1800.0
"""How long agents that were told to stop may save."""
_PAUSE_SECONDS = 2.0
"""Between two tries, so that ports and locks of the last one are free."""
_REFUSED = 2


class AgentFailed(HanLMError):  # noqa: N818  (what happened, not a fault of ours)
    """A node's agent failed too often; the exit code is the agent's."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What runs one node."""

    node: str
    argv: tuple[str, ...]


def commands(job: Job, attempt: int) -> list[Command]:
    """Return what starts each node's agent."""
    if job.launcher == "local":
        return [Command(node="localhost", argv=("bash", "-c", _remote(job, "localhost", attempt)))]
    hosts = job.cluster.ssh.hosts
    program = shlex.split(job.cluster.ssh.command)
    return [
        Command(node=_address(host), argv=(*program, host, _remote(job, _address(host), attempt))) for host in hosts
    ]


def script(job: Job) -> str:
    """Return the commands of the first try, for a person to read."""
    return "".join(shlex.join(command.argv) + "\n\n" for command in commands(job, 0))


def _address(host: str) -> str:
    return host.rpartition("@")[2]


def _remote(job: Job, node: str, attempt: int) -> str:
    """Return the shell script that a node runs: where, with which environment, torchrun."""
    python = [job.python(), "-m", "hanlm.torchrun", f"--nnodes={job.nodes}", f"--nproc-per-node={job.processes}"]
    if job.launcher == "local":
        python.append("--standalone")
    else:
        first = _address(job.cluster.ssh.hosts[0])
        python += ["--rdzv-backend=c10d", f"--rdzv-endpoint={first}:{job.cluster.port}"]
        python += [f"--rdzv-id={job.name}-{attempt}", f"--rdzv-conf={job.patience()}", f"--local-addr={node}"]
    python += ["-m", "hanlm", "pretrain", "--config", str(job.folder / "run.yaml")]
    own = {NODE: node, END_WITH_STDIN: "1"}
    if job.nodes > 1:
        own[NODES] = ",".join(map(_address, job.cluster.ssh.hosts))
    exports = [f"export {name}={shlex.quote(value)}" for name, value in own.items()]
    return "\n".join([f"cd {shlex.quote(str(Path.cwd()))}", *job.setup(), *exports, f"exec {shlex.join(python)}"])


def run(job: Job) -> Path:
    """Start the agents, wait, and start them again after a crash, as often as the cluster's options say.

    Returns:
        The model.

    Raises:
        Interrupted: If a signal stopped the run after saving.
        AgentFailed: If the run was refused, or crashed too often.
    """
    job.write("run.yaml", job.settings())
    with stop_on_signal() as stop:
        for attempt in range(job.cluster.restarts + 1):
            node, code = _try(commands(job, attempt), job.folder, stop)
            if code == 0:
                return job.config.out
            if stop.requested:
                raise Interrupted("stopped; run the same command again to go on from the last checkpoint.")
            if code == _REFUSED or attempt == job.cluster.restarts:
                raise AgentFailed(f"{node} ended the run with code {code}; what it said stands above.", code)
            say(f"{node} ended with code {code}; starting all again ({attempt + 1} of {job.cluster.restarts})")
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError


def _try(commands: Sequence[Command], logs: Path, stop: StopRequest) -> tuple[str, int]:
    """Run one agent a node until all have ended; return the one that decides, and its code."""
    agents = {command.node: _Agent(command, logs) for command in commands}
    try:
        first = _wait_for_failure(agents, stop)
    finally:
        for agent in agents.values():
            agent.tell_to_stop()
        until = time.monotonic() + _END_SECONDS
        codes = {node: agent.end(until) for node, agent in agents.items()}
    return _decisive(codes, first)


def _wait_for_failure(agents: Mapping[str, "_Agent"], stop: StopRequest) -> str | None:
    """Wait until all have finished, one has failed, whose name is returned, or somebody wants us to stop."""
    while not stop.requested:
        codes = {node: agent.process.poll() for node, agent in agents.items()}
        if failed := [node for node, code in codes.items() if code]:
            return failed[0]
        if all(code == 0 for code in codes.values()):
            return None
        time.sleep(_TICK_SECONDS)
    return None


def _decisive(codes: Mapping[str, int], first: str | None) -> tuple[str, int]:
    """Return the node to name: one that refused, else the one that was the first to fail, else any that failed."""
    failed = [node for node, code in codes.items() if code]
    if not failed:
        return next(iter(codes)), 0
    refused = [node for node in failed if codes[node] == _REFUSED]
    node = [*refused, *([first] if first else []), *failed][0]
    return node, codes[node]


class _Agent:
    """One node's agent: its output goes to the terminal, with the node's name before it, and to a log."""

    def __init__(self, command: Command, logs: Path) -> None:
        self.process = subprocess.Popen(
            command.argv,
            stdin=subprocess.PIPE,  # its end is what tells the agent to stop
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # ctrl-C of the terminal reaches it once, through us
        )
        self._log = (logs / f"{command.node}.log").open("ab")
        self._reader = threading.Thread(target=self._copy, args=(f"[{command.node}] ".encode(),), daemon=True)
        self._reader.start()

    def _copy(self, prefix: bytes) -> None:
        out: IO[bytes] | None = self.process.stdout
        assert out is not None
        for line in out:
            self._log.write(line)
            self._log.flush()
            sys.stderr.buffer.write(prefix + line)
            sys.stderr.buffer.flush()

    def tell_to_stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self, until: float) -> int:
        """Wait until it has ended, or kill what started it here; return its exit code as a shell gives it."""
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
        code = self.process.wait()
        self._reader.join(timeout=5)
        self._log.close()
        return shell_code(code)
