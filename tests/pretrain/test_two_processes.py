"""`hanlm run` with two processes: by the clock, over the ends of rounds, stopped, continued, refused, killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hanlm.errors import ArtifactError
from hanlm.locks import exclusive
from hanlm.publish import LOCK, work_folder
from hanlm.tokens import open_tokens
from pretrain.data.mixture import mixture, steps_of_one_pass


@pytest.fixture
def begin(settings, tiny_tokens, tmp_path):
    """Return a function that starts `hanlm run` of a training by two processes, into tmp_path/run/model."""
    started = []

    def start(**changes) -> "subprocess.Popen[str]":
        config = settings(**changes)
        keys = {"model", "seq_length", "global_batch_size", "micro_batch_size", "precision", "log_every", *changes}
        with_ = {k: str(value) if isinstance(value := getattr(config, k), Path) else value for k in keys}
        stage = {"command": "pretrain", "processes": 2, "with": with_ | {"tokens": [str(tiny_tokens)]}}
        (tmp_path / "two.yaml").write_text(json.dumps({"stages": {"model": stage}}))
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        env |= {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "20"}  # processes that wait for each other for ever are killed
        command = [sys.executable, "-m", "hanlm", "run", str(tmp_path / "two.yaml"), "--out", str(tmp_path / "run")]
        root = Path(__file__).parents[2]
        started.append(subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.stderr.close()


def wait_for_a_step(metrics: Path) -> None:
    deadline = time.monotonic() + 150
    while not (metrics.is_file() and '"loss"' in metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.fault(3)
def test_a_run_by_the_clock_on_two_data_parallel_processes_is_stopped_by_ctrl_c_and_goes_on(
    begin, tiny_tokens, tmp_path
):
    config = {"seconds": 4.0, "global_batch_size": 18, "micro_batch_size": 3}
    metrics = tmp_path / "run" / "model.work" / "metrics.jsonl"
    first = begin(**config)
    wait_for_a_step(metrics)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=100)[1]
    assert first.returncode == 75, said
    assert "Traceback" not in said
    assert "Warning" not in said
    assert said.count("which is saved; run the same command again to resume") == 1

    second = begin(**config)
    try:
        said = second.communicate(timeout=100)[1]
    except subprocess.TimeoutExpired:
        second.terminate()
        said = second.communicate(timeout=60)[1]
    assert second.returncode == 0, said
    assert said.count("resuming after step") == 1
    assert "Warning" not in said
    assert "deprecat" not in said
    losses = [row for row in map(json.loads, metrics.read_text().splitlines()) if "loss" in row]
    assert [row["step"] for row in losses] == list(range(1, len(losses) + 1))
    shares = mixture([open_tokens(tiny_tokens)], {})
    a_round = steps_of_one_pass(shares, seq_length=32, global_batch_size=18)
    assert len(losses) > 2 * a_round


@pytest.mark.slow
def test_a_refusal_is_one_sentence_of_the_stage_and_one_of_the_run(begin):
    run = begin(steps=2, global_batch_size=3, micro_batch_size=1)
    said = run.communicate(timeout=100)[1]
    assert run.returncode == 2, said
    first, second, third = said.splitlines()
    assert first.startswith("[1/1] model: ")
    assert second.startswith("hanlm: --global-batch-size 3 must be divisible by")
    assert third.startswith("hanlm: stage model (hanlm pretrain) ended with code 2")


@pytest.mark.slow
def test_a_refusal_of_one_process_is_told_and_not_that_the_other_lost_it(settings, tiny_tokens):
    config = settings()
    command = [sys.executable, "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2", "-m", "hanlm", "pretrain"]
    command += ["--model", str(config.model), "--tokens", str(tiny_tokens), "--out", str(config.out), "--steps", "2"]
    with exclusive(work_folder(config.out) / LOCK, "out"):
        done = subprocess.run(
            [*command, "--seq-length", "32"],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"hanlm: {config.out} is being written by another hanlm process")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.fault(1)
@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's end is Linux's")
def test_the_stage_of_a_run_that_was_killed_saves_and_lets_the_run_go(begin, tmp_path):
    run = begin(steps=1_000_000)
    wait_for_a_step(tmp_path / "run" / "model.work" / "metrics.jsonl")
    run.kill()
    deadline = time.monotonic() + 60
    while True:
        try:
            with exclusive(tmp_path / "run" / ".lock", "the run"):
                break
        except ArtifactError:
            assert time.monotonic() < deadline, "the stage goes on"
            time.sleep(0.1)
    checkpoints = tmp_path / "run" / "model.work" / "checkpoints"
    assert json.loads((checkpoints / "latest.json").read_text())["step"] > 0
