"""A training as a Slurm job: on a cluster of this machine alone, stopped, requeued by its own script, finished."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster, SlurmUnavailable

from hanlm.errors import ConfigError
from pretrain.launch.config import ClusterConfig, SlurmOptions
from pretrain.launch.slurm import script
from pretrain.launch.start import job_of
from pretrain.train import plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    try:
        started = SlurmCluster()
    except SlurmUnavailable as why:
        pytest.skip(f"no Slurm: {why}")
    yield started
    started.close()


def directives(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def check_syntax(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_script_asks_for_what_the_flags_say_and_saves_before_its_time_is_over(settings):
    options = SlurmOptions(partition="gpu", account="han", time="8:00:00", sbatch_args={"exclusive": "", "mem": "0"})
    cluster = ClusterConfig(threads=4, interface="ib0", env={"NCCL_IB_HCA": "mlx5"}, slurm=options)
    text = script(job_of(settings(launch="slurm", nodes=3, gpus_per_node=8, cluster=cluster)))
    check_syntax(text)
    asked = directives(text)
    assert asked["nodes"] == "3"
    assert asked["gpus-per-node"] == "8"
    assert asked["cpus-per-task"] == "32"
    assert asked["signal"] == "TERM@300"
    assert {"requeue", "exclusive"} <= asked.keys()
    assert asked["mem"] == "0"
    assert (asked["partition"], asked["account"], asked["time"]) == ("gpu", "han", "8:00:00")
    for line in ("export OMP_NUM_THREADS=4", "export NCCL_SOCKET_IFNAME=ib0", "export NCCL_IB_HCA=mlx5"):
        assert line in text
    assert "--nnodes=3 --nproc-per-node=8" in text
    assert 'scontrol requeue "$SLURM_JOB_ID"' in text


def test_where_requeueing_is_forbidden_the_script_is_an_array_that_goes_on_task_by_task(settings):
    cluster = ClusterConfig(slurm=SlurmOptions(restart="array", max_requeues=9))
    text = script(job_of(settings(launch="slurm", gpus_per_node=1, cluster=cluster)))
    check_syntax(text)
    assert directives(text)["array"] == "0-9%1"
    assert "requeue" not in directives(text)
    assert "scontrol requeue" not in text
    assert '|| scancel --state=PENDING "$SLURM_ARRAY_JOB_ID"' in text


@pytest.mark.parametrize("code", [0, 1, 2, 75, 137])
def test_the_script_tries_again_after_a_crash_requeues_after_a_save_and_gives_up_on_bad_input(
    settings, tmp_path: Path, code: int
):
    """Run by bash for real, with programs in place of Slurm's that note how they are called."""
    job = job_of(settings(launch="slurm", nodes=2, gpus_per_node=0, cluster=ClusterConfig(restarts=2)))
    job.folder.mkdir(parents=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    python = f'[ "$2" = hanlm.torchrun ] && echo agent "$@" >> {tmp_path}/calls; exit {code}'
    bodies = {
        "srun": 'while [ "$1" != bash ]; do shift; done; exec "$@"',
        "scontrol": f'[ "$1" = show ] && printf "a\\nb\\n" || echo scontrol "$@" >> {tmp_path}/calls',
        "squeue": "echo RUNNING",
        "sleep": "true",
        "python": python,
    }
    for name, body in bodies.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    text = script(job).replace(sys.executable, str(programs / "python"))
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "a,b"}
    text = text.replace("export PATH=", "export UNUSED=")
    done = subprocess.run(["bash"], input=text, text=True, env=env, capture_output=True, check=False)
    calls = (tmp_path / "calls").read_text().splitlines()
    agents = [call for call in calls if call.startswith("agent")]
    assert done.returncode == code, done.stderr
    assert len(agents) == {0: 1, 1: 3, 2: 1, 75: 1, 137: 3}[code]
    assert ("scontrol requeue 77" in calls) == (code == 75)
    assert "--rdzv-endpoint=a:20154 --rdzv-id=77-0-0" in agents[0]


def test_a_dry_run_shows_the_script_and_submits_nothing(settings):
    config = settings(launch="slurm", nodes=2, gpus_per_node=0)
    lines = plan(config)
    assert "    #!/bin/bash" in lines
    assert any("on each of 2 data-parallel ranks" in line for line in lines)
    assert not config.out.with_name("out.work").exists()


def test_without_slurm_on_this_machine_nothing_is_submitted_and_the_sentence_says_why(settings, monkeypatch):
    from pretrain.train import pretrain

    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="no sbatch on the PATH"):
        pretrain(settings(launch="slurm", gpus_per_node=0))


def wait_until(condition: Callable[[], object], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.fault(3)
def test_a_job_that_slurm_stops_saves_is_requeued_by_its_script_and_finishes(
    cluster: SlurmCluster, settings, read_losses
):
    steps = 400
    config = settings(steps=steps)
    words = ["--model", config.model, "--tokens", config.tokens[0], "--out", config.out, "--steps", steps]
    words += ["--seq-length", 32, "--global-batch-size", 4, "--precision", "fp32", "--eval-tokens", 0, "--log-every", 1]
    words += ["--launch", "slurm", "--gpus-per-node", 0, "--cluster.slurm.time", "10:00"]
    env = os.environ | cluster.env | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hanlm", "pretrain", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    number = re.search(r"submitted job (\d+)", done.stderr)[1]

    work = config.out.with_name("out.work")
    log = work / "launch" / f"slurm-{number}.out"
    metrics = work / "metrics.jsonl"

    def said() -> str:
        return (log.read_text() if log.is_file() else "") + cluster.ask("squeue")

    wait_until(lambda: metrics.is_file() and metrics.read_text().count("\n") > 20, said)
    # What a preemption or the end of its time sends: SIGTERM to every process of the job's steps.
    cluster.ask("scancel", "--signal=TERM", number)
    wait_until(lambda: "PENDING" in cluster.ask("squeue", "--noheader", "--format=%T"), said)
    steps_saved = json.loads((work / "checkpoints" / "latest.json").read_text())["step"]
    assert 0 < steps_saved < steps
    time.sleep(3)  # a start in the second of the requeue is refused: "job credential revoked"
    cluster.ask("scontrol", "update", f"jobid={number}", "StartTime=now")  # instead of after two minutes
    wait_until(config.out.is_dir, said)
    assert "which is saved; run the same command again" in said()
    assert f"resuming after step {steps_saved}" in said()
    assert list(read_losses(work)) == list(range(1, steps + 1))
