"""The Ray engine, on a Ray cluster of this machine: the same bytes, whatever is killed."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from builds import NUM_FILES, Build, command_line, descendants, is_running, kill_all, wait_until, write_input

import corpora.engine.config as engine
from corpora.engine.config import EngineConfig
from hanlm.errors import ConfigError

SLOW_STEPS = """
import os, time
if "ray/_private/workers" in " ".join(getattr(__import__("sys"), "orig_argv", [])):
    import corpora.steps.reading as reading
    read = reading.read_slice
    def slow(*words):
        time.sleep(0.5)
        return read(*words)
    reading.read_slice = slow
"""


@pytest.fixture(scope="module", autouse=True)
def _needs_ray() -> None:
    pytest.importorskip("ray")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_input(tmp_path_factory.mktemp("engine") / "in")


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return Build(source, tmp_path_factory.mktemp("engine") / "out", workers=1).run()


def ray_build(source: Path, out: Path, *, slow: bool = False) -> Build:
    build = Build(source, out, executor="ray")
    if slow:
        hook = out.with_name(f"{out.name}.hook")
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(SLOW_STEPS)
        build.env = {"PYTHONPATH": f"{hook}:{os.environ.get('PYTHONPATH', '')}"}
    return build


def ray_workers(family: set[int]) -> list[int]:
    return sorted(pid for pid in family if "_run_task" in command_line(pid))


def test_without_ray_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install 'hanlm\[ray\]'"):
        EngineConfig(executor="ray", workers=2)


@pytest.mark.slow
def test_ray_and_local_processes_write_the_same_bytes_and_ray_ends_with_the_command(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path
):
    assert Build(source, tmp_path / "two", workers=2).run() == undisturbed
    build = ray_build(source, tmp_path / "ray")
    process = build.start()
    family: set[int] = set()
    while process.poll() is None:
        family |= descendants(process.pid)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert build.content() == undisturbed
    assert len(family) > 2
    wait_until(lambda: not any(map(is_running, family)), seconds=20)


@pytest.mark.slow
@pytest.mark.fault(12)
def test_a_killed_worker_of_ray_s_changes_no_byte(source: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    build = ray_build(source, tmp_path / "out", slow=True)
    process = build.start()
    num_killed = 0
    for _ in range(2):
        before = len(build.completed())
        wait_until(lambda wanted=before + 1: len(build.completed()) >= wanted, seconds=150)
        workers = wait_until(lambda: ray_workers(descendants(process.pid)))
        os.kill(workers[0], signal.SIGKILL)
        num_killed += 1
    assert len(build.completed()) < NUM_FILES
    _, said = process.communicate(timeout=200)
    if process.returncode == 75:
        assert "run the same command again" in said.splitlines()[-1]
        assert build.run() == undisturbed
    else:
        assert process.returncode == 0, said
        assert build.content() == undisturbed
    assert num_killed == 2


@pytest.mark.slow
@pytest.mark.fault(12)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ray_ends_with_the_command_that_started_it_and_the_next_one_goes_on(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path, number: signal.Signals
):
    build = ray_build(source, tmp_path / "out", slow=True)
    process = build.start()
    wait_until(lambda: len(build.completed()) >= 2, seconds=150)
    family = descendants(process.pid)
    # Ray's agents on a node do not notice for long that all else was killed; they touch nothing of ours.
    agents = {pid for pid in family if "Agent" in command_line(pid)}
    process.send_signal(number)
    try:
        wait_until(lambda: not any(map(is_running, family - agents)), seconds=30)
    finally:
        kill_all(family)
    _, said = process.communicate(timeout=30)
    assert process.returncode == (75 if number == signal.SIGTERM else -number), said
    done, written = build.completed(), build.written()
    assert 2 <= len(done) < NUM_FILES
    assert len(written) >= len(done)
    assert Build(source, build.out, workers=2).run() == undisturbed


@pytest.mark.slow
@pytest.mark.fault(15)
def test_what_a_task_on_ray_fails_with_is_the_command_s_sentence(source: Path, tmp_path: Path):
    damaged = tmp_path / "in"
    shutil.copytree(source, damaged)
    (damaged / "03.jsonl.gz").write_bytes(gzip.compress((damaged / "03.jsonl").read_bytes())[:-40])
    (damaged / "03.jsonl").unlink()
    build = ray_build(damaged, tmp_path / "out")
    process = build.start()
    _, said = process.communicate(timeout=200)
    assert process.returncode == 2, said
    assert "03.jsonl.gz is truncated" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert 3 not in build.completed()


@pytest.fixture
def ray_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster that somebody else started."""
    ray = Path(sys.executable).with_name("ray")
    port = 26_379 + os.getpid() % 1000
    words = ["start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # without it Ray's start asks for a token, and its init sends none
    started = subprocess.run([ray, *words], check=False, capture_output=True, text=True, timeout=120)
    if started.returncode:
        pytest.skip(f"no Ray cluster: {started.stderr[-300:]}")
    pids = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()}
    before = {pid for pid in pids if str(port) in command_line(pid)}
    yield f"127.0.0.1:{port}"
    before |= {child for pid in before for child in descendants(pid)}
    for pid in before:
        if is_running(pid):
            os.kill(pid, signal.SIGTERM)
    with suppress(AssertionError):
        wait_until(lambda: not any(map(is_running, before)), seconds=20)
    kill_all(before)


@pytest.mark.slow
def test_a_cluster_that_was_there_is_used_and_left(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path, ray_address: str
):
    build = ray_build(source, tmp_path / "out")
    build.env = {"RAY_ADDRESS": ray_address}
    assert build.run() == undisturbed
    asked = subprocess.run(
        [Path(sys.executable).with_name("ray"), "status", f"--address={ray_address}"], check=False, capture_output=True
    )
    assert asked.returncode == 0, asked.stderr
    build = ray_build(source, tmp_path / "gone")
    build.env = {"RAY_ADDRESS": "127.0.0.1:1"}
    process = build.start()
    _, said = process.communicate(timeout=200)
    assert process.returncode == 2, said
    assert "could not reach the Ray cluster at RAY_ADDRESS=127.0.0.1:1" in said.splitlines()[-1]
