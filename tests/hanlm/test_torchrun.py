"""Under torchrun a command keeps its exit code: two real processes each."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FAIL = "import os, sys, time\nif os.environ['RANK'] == '0': time.sleep(60)\nsys.exit(3)\n"
SAVE = """
import os, pathlib, signal, sys, time
def save(*_):
    time.sleep(1)
    pathlib.Path(sys.argv[1], 'saved' + os.environ['RANK']).touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
pathlib.Path(sys.argv[1], 'ready' + os.environ['RANK']).touch()
time.sleep(60)
"""


def start(tmp_path: Path, program: str) -> "subprocess.Popen[str]":
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*command, str(tmp_path / "program.py"), str(tmp_path)], stderr=subprocess.PIPE, text=True, env=os.environ
    )


def test_a_process_that_fails_gives_its_code(tmp_path: Path):
    child = start(tmp_path, FAIL)
    _, said = child.communicate(timeout=100)
    assert child.returncode == 3, said
    assert "Traceback" not in said


@pytest.mark.fault(3)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_process_waits_for_them_and_gives_75(tmp_path: Path, number: signal.Signals):
    child = start(tmp_path, SAVE)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(number)
    _, said = child.communicate(timeout=100)
    assert child.returncode == 75, said
    assert len(list(tmp_path.glob("saved*"))) == 2
    assert "Traceback" not in said
