"""A stage ends with the run that started it, also when that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import subprocess, sys
from hanlm.parent import as_parent
subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[2]], env=as_parent())
"""
CHILD = """
import os, pathlib, signal, sys, time
from hanlm.parent import end_with_parent
def save(*_):
    pathlib.Path(sys.argv[1], "saved").touch()
    sys.exit()
signal.signal(signal.SIGTERM, save)
end_with_parent()
assert "HANLM_PARENT" not in os.environ  # its own children are not ours
pathlib.Path(sys.argv[1], "ready").touch()
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's end is Linux's")


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


def test_a_child_is_told_to_save_when_its_parent_is_killed(tmp_path: Path):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD, str(tmp_path)], env=env) as parent:
        wait_for(tmp_path / "ready")
        parent.send_signal(signal.SIGKILL)
        wait_for(tmp_path / "saved")


def test_a_child_whose_parent_was_gone_before_it_asked_does_not_begin(tmp_path: Path):
    env = os.environ | {"HANLM_PARENT": "1"}
    done = subprocess.run([sys.executable, "-m", "hanlm", "--version"], env=env, capture_output=True, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert not done.stdout
