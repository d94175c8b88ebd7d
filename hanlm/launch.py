"""Starting a HanLM command as a process of its own, with its time and peak memory taken."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any, Self

import yaml

from hanlm.parent import as_parent


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    seconds: float
    peak_rss_bytes: int
    """The largest resident size of any one process it started."""


def launch(
    command: Sequence[str],
    config: Mapping[str, Any],
    log: Path,
    *,
    processes: int = 1,
    keep_open: IO[str] | None = None,
) -> Outcome:
    """Run ``hanlm COMMAND`` on a configuration and wait; SIGINT and SIGTERM reach it as SIGTERM, and so does our end.

    Args:
        command: The words and flags after ``hanlm``.
        config: Written to ``LOG.yaml`` and passed by ``--config``.
        log: What the command prints goes to the terminal and to ``LOG.log``.
        processes: More than one starts it under ``hanlm.torchrun`` on this machine.
        keep_open: A file the process inherits, such as a held lock.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    resolved = log.with_suffix(".yaml")
    resolved.write_text(
        yaml.safe_dump(json.loads(json.dumps(config)), allow_unicode=True, sort_keys=False), encoding="utf-8"
    )
    torchrun = ["-m", "hanlm.torchrun", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    argv = [sys.executable, *torchrun, "-m", "hanlm", *command, "--config", str(resolved)]
    started = time.monotonic()
    with log.with_suffix(".log").open("ab") as file, _PassSignals() as signals:
        # A session of its own: the terminal's ctrl-C then reaches it once, through us, and not twice.
        child = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=as_parent(),
            pass_fds=[keep_open.fileno()] if keep_open else [],
        )
        signals.pass_to(child)
        _copy(child, file)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return Outcome(shell_code(child.returncode), time.monotonic() - started, usage.ru_maxrss * unit)


def _copy(child: "subprocess.Popen[bytes]", file: IO[bytes]) -> None:
    assert child.stdout is not None
    while chunk := os.read(child.stdout.fileno(), 1 << 16):
        file.write(chunk)
        file.flush()
        sys.stderr.buffer.write(chunk)
        sys.stderr.flush()
    child.stdout.close()


def shell_code(returncode: int) -> int:
    """Return the code that a shell gives: 128 and the signal for a process that a signal ended."""
    return returncode if returncode >= 0 else 128 - returncode


class _PassSignals:
    """Hand SIGINT and SIGTERM to a child, also one that came just before the child was there.

    Always as SIGTERM: a SIGINT that comes while Python itself starts would end in a traceback.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._came = False

    def __enter__(self) -> Self:
        self._previous = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc: object) -> None:
        for s, handler in self._previous.items():
            signal.signal(s, handler)

    def pass_to(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        if self._came:
            child.terminate()

    def _handle(self, _signum: int, _frame: FrameType | None) -> None:
        self._came = True
        if self._child is not None:
            self._child.terminate()
