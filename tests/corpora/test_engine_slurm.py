"""The Slurm engine: its scripts, and runs of the whole command on a real cluster of one node."""

import gzip
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builds import NUM_FILES, Build, wait_until, write_input
from slurm_cluster import SlurmCluster, SlurmUnavailable

import corpora.engine.slurm as engine
from corpora.build import BuildConfig, build
from corpora.engine.config import EngineConfig, SlurmConfig
from corpora.engine.slurm import SlurmExecutor
from hanlm.errors import ConfigError

SLOW_STEPS = """
import time
from corpora.sources import slices
import corpora.steps.reading as reading
read = reading.read_slice
def slow(*words):
    time.sleep(SECONDS)
    return read(*words)
reading.read_slice = slow
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_input(tmp_path_factory.mktemp("engine") / "in")


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return Build(source, tmp_path_factory.mktemp("engine") / "out", workers=1).run()


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    try:
        started = SlurmCluster()
    except SlurmUnavailable as why:
        pytest.skip(f"no Slurm: {why}")
    yield started
    started.close()


def executor_in(folder: Path, tasks: int = 5, workers: int = 2, **options: Any) -> SlurmExecutor:
    return SlurmExecutor([], tasks=tasks, workers=workers, config=SlurmConfig(**options), logging_dir=folder)


def directives(script: Path) -> dict[str, str]:
    lines = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH --")]
    return {name: value for name, _, value in (line.removeprefix("#SBATCH --").partition("=") for line in lines)}


def test_the_script_says_what_the_configuration_says_and_asks_for_no_mail(tmp_path: Path):
    folder = tmp_path / "空 格" / "stages" / "read"
    executor = executor_in(
        folder,
        partition="cpu",
        time="1:00:00",
        qos="low",
        mem_per_cpu_gb=3,
        sbatch_args={"account": "han", "exclusive": ""},
    )
    script = executor.write_job([1, 3, 4])
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    asked = directives(script)
    log = f'"{folder}/slurm_logs/{script.stem}_%a.out"'
    assert asked == {
        "job-name": script.stem,
        "array": "0-2%2",
        "partition": "cpu",
        "time": "1:00:00",
        "qos": "low",
        "nodes": "1",
        "cpus-per-task": "1",
        "mem-per-cpu": "3G",
        "output": log,
        "error": log,
        "requeue": "",
        "account": "han",
        "exclusive": "",
    }
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    assert any(f'export PATH={Path(sys.executable).parent}:"$PATH"' in line for line in lines)
    assert any(line.strip().startswith("launch_pickled_pipeline '") for line in lines)
    assert json.loads(script.with_suffix(".json").read_text()) == [1, 3, 4]
    inside = pickle.loads(script.with_suffix(".pik").read_bytes())
    assert (inside.array, inside.job_name, inside.world_size) == ([1, 3, 4], script.stem, 5)


def test_without_a_partition_slurm_chooses_and_another_environment_replaces_ours(tmp_path: Path):
    script = executor_in(tmp_path / "read", env_command="source /shared/venv/bin/activate").write_job([0])
    assert "partition" not in directives(script)
    assert "source /shared/venv/bin/activate" in script.read_text()
    assert "export PATH" not in script.read_text()


def test_more_tasks_than_an_array_may_have_become_arrays_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    handed: list[tuple[str, tuple[str, ...]]] = []

    def submit(script: Path, options: Any) -> str:
        handed.append((directives(script)["array"], tuple(options)))
        return str(100 + len(handed))

    monkeypatch.setattr(engine, "submit", submit)
    executor = executor_in(tmp_path / "read", tasks=7, max_array_size=3)
    executor._submit(range(7))
    assert handed == [
        ("0-2%2", ()),
        ("0-2%2", ("--dependency=afterany:101",)),
        ("0-0%2", ("--dependency=afterany:102",)),
    ]
    lists = sorted(json.loads(path.read_text()) for path in (tmp_path / "read/jobs").glob("*.json"))
    assert lists == [[0, 1, 2], [3, 4, 5], [6]]


def test_without_slurm_the_command_says_where_to_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="login node"):
        EngineConfig(executor="slurm", workers=2)


def test_a_refused_job_is_explained_and_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sbatch = tmp_path / "bin/sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2; exit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    with pytest.raises(ConfigError, match="Slurm refused a job: invalid partition specified: gpu"):
        executor_in(tmp_path / "read")._submit([0, 1])
    assert not list((tmp_path / "read/jobs").glob("*.json"))


def slurm_build(cluster: SlurmCluster, source: Path, out: Path, seconds: float = 0.0, **options: Any) -> Build:
    """Return a build on the cluster whose tasks sleep for so long before they read."""
    env = dict(cluster.env)
    if seconds:
        hook = out.with_name(f"{out.name}.hook")
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(
            "import os\nif 'SLURM_ARRAY_TASK_ID' in os.environ:\n"
            + "".join("    " + line + "\n" for line in SLOW_STEPS.replace("SECONDS", str(seconds)).splitlines())
        )
        env["PYTHONPATH"] = f"{hook}:{os.environ.get('PYTHONPATH', '')}"
    slurm = {"poll_seconds": 0.5, "settle_seconds": 2, "mem_per_cpu_gb": 1, "time": "10:00", **options}
    return Build(source, out, executor="slurm", options={"slurm": slurm}, env=env)


@pytest.mark.slow
def test_a_build_on_slurm_is_that_of_one_process(
    cluster: SlurmCluster, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
):
    (tmp_path / "空 格").mkdir()
    assert slurm_build(cluster, source, tmp_path / "空 格/out", max_array_size=5).run() == undisturbed


@pytest.mark.slow
@pytest.mark.fault(12)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_after_the_launcher_has_gone_the_next_one_waits_for_the_same_jobs(
    cluster: SlurmCluster, source: Path, undisturbed: dict[str, bytes], tmp_path: Path, number: signal.Signals
):
    build = slurm_build(cluster, source, tmp_path / "out", seconds=1.0)
    process = build.start()
    wait_until(lambda: len(build.completed()) >= 1)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == (75 if number == signal.SIGTERM else -number), said
    jobs = sorted((build.stage / "jobs").glob("*.json"))
    assert len(jobs) == 1
    assert cluster.ask("squeue", "--noheader", f"--name={jobs[0].stem}")
    if number == signal.SIGTERM:
        assert f"scancel --name={jobs[0].stem}" in said.splitlines()[-1]
    process = build.start()
    later: set[str] = set()
    while process.poll() is None:
        later |= {path.name for path in (build.stage / "jobs").glob("*.json")}
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert later == {jobs[0].name}  # nothing of it was submitted again
    assert build.content() == undisturbed


def running_task(cluster: SlurmCluster, job: str) -> tuple[int, str] | None:
    """Return a running task of a job, and the number by which Slurm knows it."""
    listed = cluster.ask("squeue", "--noheader", "--array", f"--name={job}", "--states=RUNNING", "--format=%K %i")
    rows = [line.split() for line in listed.splitlines()]
    return (int(rows[0][0]), rows[0][1]) if rows else None


@pytest.mark.slow
@pytest.mark.fault(12)
def test_a_cancelled_task_ends_the_run_with_its_log_and_only_it_is_done_again(
    cluster: SlurmCluster, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
):
    build = slurm_build(cluster, source, tmp_path / "out", seconds=0.5)
    process = build.start()
    job = wait_until(lambda: list((build.stage / "jobs").glob("*.json")))[0].stem
    lost, number = wait_until(lambda: running_task(cluster, job))
    cluster.ask("scancel", number)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 75, said
    assert f"the first is task {lost} (CANCELLED)" in said.splitlines()[-1]
    log = build.stage / f"slurm_logs/{job}_{lost}.out"
    assert str(log) in said.splitlines()[-1]
    assert "CANCELLED" in log.read_text()
    assert build.completed() == set(range(NUM_FILES)) - {lost}
    written = build.written()
    process = build.start()
    wait_until(lambda: len(build.completed()) == NUM_FILES)
    lists = [json.loads(path.read_text()) for path in (build.stage / "jobs").glob("*.json")]
    assert sorted(lists, key=len) == [[lost], list(range(NUM_FILES))]
    assert written.items() <= build.written().items()
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert build.content() == undisturbed


@pytest.mark.slow
@pytest.mark.fault(15)
def test_what_a_task_on_slurm_fails_with_is_the_command_s_sentence(cluster: SlurmCluster, source: Path, tmp_path: Path):
    damaged = tmp_path / "in"
    shutil.copytree(source, damaged)
    (damaged / "03.jsonl.gz").write_bytes(gzip.compress((damaged / "03.jsonl").read_bytes())[:-40])
    (damaged / "03.jsonl").unlink()
    build = slurm_build(cluster, damaged, tmp_path / "out")
    process = build.start()
    _, said = process.communicate(timeout=200)
    assert process.returncode == 2, said
    assert "03.jsonl.gz is truncated" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert 3 not in build.completed()


@pytest.mark.slow
def test_jobs_of_another_build_in_the_folder_are_ended_and_no_other_engine_joins_them(
    cluster: SlurmCluster, source: Path, undisturbed: dict[str, bytes], tmp_path: Path
):
    build = slurm_build(cluster, source, tmp_path / "out", seconds=3.0)
    build.options["min_chars"] = 3
    process = build.start()
    job = wait_until(lambda: list((build.stage / "jobs").glob("*.json")))[0].stem
    wait_until(lambda: "RUNNING" in cluster.ask("squeue", "--noheader", f"--name={job}", "--format=%T"))
    process.kill()
    process.communicate()
    local = Build(source, build.out, env=build.env, options=build.options).start()
    _, said = local.communicate(timeout=60)
    assert local.returncode == 2, said
    assert f"scancel --name={job}" in said.splitlines()[-1]
    del build.options["min_chars"]  # another build, which begins anew in the same folder
    build.env = dict(cluster.env)
    assert build.run() == undisturbed
    assert not cluster.ask("squeue", "--noheader", f"--name={job}")


def test_a_slurm_that_does_not_answer_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("squeue", "sbatch"):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\necho '{name}: fatal: Could not establish a configuration source' >&2\nexit 1\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "in.txt").write_text("一个句子。", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"got: Could not establish a configuration source; run on a login node"):
        build(BuildConfig(input=(tmp_path / "in.txt",), out=tmp_path / "out", executor="slurm"))
