"""Under torchrun a command keeps its exit code and its sentence: two real processes each."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hanlm import last_words

FAIL = "import os, sys, time\nif os.environ['RANK'] == '0': time.sleep(60)\nsys.exit(3)\n"
DIE = "import os, signal, time\nif os.environ['RANK'] == '0': time.sleep(60)\nos.kill(os.getpid(), signal.SIGKILL)\n"
SAVE = """
import os, pathlib, signal, sys, time
from hanlm.last_words import end
def save(*_):
    time.sleep(1)
    pathlib.Path(sys.argv[1], 'saved' + os.environ['RANK']).touch()
    sys.exit(end(f"saved by {os.environ['RANK']}", 75))
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
pathlib.Path(sys.argv[1], 'ready' + os.environ['RANK']).touch()
time.sleep(60)
"""


def start(*program: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2", *map(str, program)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)


def write(tmp_path: Path, program: str) -> Path:
    (tmp_path / "program.py").write_text(program)
    return tmp_path / "program.py"


def test_a_process_that_fails_gives_its_code(tmp_path: Path):
    child = start(write(tmp_path, FAIL))
    _, said = child.communicate(timeout=100)
    assert child.returncode == 3, said
    assert not said


def test_a_process_that_was_killed_is_named_with_the_signal(tmp_path: Path):
    child = start(write(tmp_path, DIE))
    _, said = child.communicate(timeout=100)
    assert child.returncode == 128 + signal.SIGKILL, said
    assert said == "hanlm: process 1 was ended by SIGKILL; if nobody sent that, look whether memory ran out.\n"


def test_of_a_command_that_all_processes_refuse_one_sentence_is_seen(tmp_path: Path):
    nowhere = tmp_path / "nowhere"
    child = start("-m", "hanlm", "corpus", "build", "--input", nowhere, "--out", tmp_path / "out")
    _, said = child.communicate(timeout=100)
    assert child.returncode == 2, said
    assert said.startswith("hanlm: ")
    assert str(nowhere) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(2, "refused"), (1, "lost the other")], "refused"),
        ([(1, "lost the other"), (2, "refused")], "refused"),
        ([(75, "stopped by torchrun"), (1, "a bug")], "a bug"),
        ([(75, "stopped"), (75, "stopped too")], "stopped"),
        ([], None),
    ],
)
def test_the_cause_is_told_from_what_followed_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[tuple[int, str]], expected: str | None
):
    for name, value in last_words.collect_in(tmp_path).items():
        monkeypatch.setenv(name, value)
    for rank, (code, text) in enumerate(said):
        monkeypatch.setenv("RANK", str(rank))
        assert last_words.end(text, code) == code
    found = last_words.decisive(tmp_path)
    assert (found and found.text) == expected


def test_of_two_bugs_the_earlier_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(*next(iter(last_words.collect_in(tmp_path).items())))
    for rank, time_ns in (("0", 2_000_000_000), ("1", 1_000_000_000)):
        monkeypatch.setenv("RANK", rank)
        last_words.end(f"bug of {rank}", 1)
        os.utime(tmp_path / rank, ns=(time_ns, time_ns))
    assert last_words.decisive(tmp_path) == last_words.LastWords(text="bug of 1", exit_code=1)


@pytest.mark.fault(3)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_process_waits_for_them_and_gives_75(tmp_path: Path, number: signal.Signals):
    child = start(write(tmp_path, SAVE), tmp_path)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(number)
    _, said = child.communicate(timeout=100)
    assert child.returncode == 75, said
    assert len(list(tmp_path.glob("saved*"))) == 2
    assert said in ("saved by 0\n", "saved by 1\n")
