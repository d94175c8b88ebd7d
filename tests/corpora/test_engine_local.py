"""The local engine: whatever is killed, the next run of the same command ends as an undisturbed one would have."""

import gzip
import os
import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from builds import NUM_FILES, Build, command_line, descendants, is_running, kill_all, wait_until, write_input

SLOW_READING = """
import time
import corpora.steps.reading as reading
read = reading.read_slice
def slow(*words):
    for document in read(*words):
        time.sleep(0.005)
        yield document
reading.read_slice = slow
"""
"""Makes each task last 0.2 s, whatever the machine, so that a kill comes in its midst."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_input(tmp_path_factory.mktemp("engine") / "in 中文")


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    content = Build(source, tmp_path_factory.mktemp("engine") / "out", workers=1).run()
    assert len(content) > NUM_FILES  # a shard of each task at least, and some that are held out
    return content


def workers_of(pid: int) -> list[int]:
    """Return the processes of the pool."""
    return sorted(child for child in descendants(pid) if "spawn_main" in command_line(child))


def test_the_bytes_do_not_depend_on_the_number_of_workers(source: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    assert Build(source, tmp_path / "out", workers=3).run() == undisturbed


@pytest.mark.slow
@pytest.mark.fault(12)
def test_a_killed_worker_ends_the_run_at_once_and_the_next_run_does_only_what_is_left(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path
):
    build = Build(source, tmp_path / "out", prelude=SLOW_READING)
    process = build.start()
    wait_until(lambda: len(build.completed()) >= 3)
    family = descendants(process.pid)
    os.kill(workers_of(process.pid)[-1], signal.SIGKILL)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 75, said
    assert said.splitlines()[-1].startswith("hanlm: a worker process was killed by SIGKILL")
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_running, family)), seconds=10)
    assert not build.out.exists()
    done = build.completed()
    written = build.written()
    assert 3 <= len(done) < NUM_FILES
    assert len(written) >= len(done)
    build.options["max_quarantined"] = 0.06  # decides nothing about the result
    process = Build(source, build.out, prelude=KILL_AFTER_READING, options=build.options).start()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(build.completed()) == NUM_FILES
    assert written.items() <= build.written().items()
    assert build.run() == undisturbed
    assert not build.stage.exists()


KILL_AFTER_READING = """
import os, signal
import corpora.pipeline
corpora.pipeline.gather_quarantine = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.fault(12)
def test_workers_end_with_a_killed_main_process(source: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    build = Build(source, tmp_path / "out", prelude=SLOW_READING)
    process = build.start()
    wait_until(lambda: len(build.completed()) >= 2)
    family = descendants(process.pid)
    assert workers_of(process.pid)
    process.kill()
    try:
        wait_until(lambda: not any(map(is_running, family)), seconds=5)
    finally:
        kill_all(family)
    process.communicate()
    assert build.written()
    assert build.run() == undisturbed


@pytest.mark.slow
@pytest.mark.fault(3)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to_the_group", [False, True])
def test_a_signal_stops_the_pool_with_75(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path, number: signal.Signals, to_the_group: bool
):
    build = Build(source, tmp_path / "out", prelude=SLOW_READING)
    process = build.start()
    wait_until(lambda: len(build.completed()) >= 2)
    family = descendants(process.pid)
    (os.killpg if to_the_group else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 75, said
    assert "run the same command again" in said.splitlines()[-1]
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_running, family)), seconds=10)
    assert not build.out.exists()
    assert build.run() == undisturbed


@pytest.mark.fault(15)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_cannot_read_its_input_ends_the_run_unmarked(source: Path, tmp_path: Path, workers: int):
    damaged = tmp_path / "in"
    damaged.mkdir()
    for path in source.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "03.jsonl.gz").write_bytes(gzip.compress((damaged / "03.jsonl").read_bytes())[:-40])
    (damaged / "03.jsonl").unlink()
    build = Build(damaged, tmp_path / "out", workers=workers)
    process = build.start()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "03.jsonl.gz is truncated" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert 3 not in build.completed()
    assert not build.out.exists()


@pytest.mark.slow
@pytest.mark.fault(12)
@pytest.mark.parametrize("victim", ["main", "worker"])
def test_kills_at_random_moments_change_no_byte(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path, victim: str
):
    random_ = random.Random(victim)
    build = Build(source, tmp_path / "out", prelude=SLOW_READING)
    killed = [kill_once(build, victim, random_) for _ in range(8)]
    assert sum(killed) >= 4
    if not build.out.exists():
        build.run()
    assert build.content() == undisturbed


def kill_once(build: Build, victim: str, random_: random.Random) -> bool:
    """Run the command, kill one of its processes at some moment, and say whether one was there to kill."""
    if build.out.exists():
        return False
    before = build.completed()
    process = build.start()
    wait_until(lambda: workers_of(process.pid) or process.poll() is not None)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=random_.uniform(0.0, 1.0))
    family = descendants(process.pid)
    targets = [process.pid] if victim == "main" else workers_of(process.pid)
    if targets:
        os.kill(random_.choice(targets), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode in (0, 75, -signal.SIGKILL), said
    wait_until(lambda: not any(map(is_running, family)), seconds=10)
    assert build.out.exists() or build.completed() >= before
    return bool(targets)
