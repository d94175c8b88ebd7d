"""`hanlm run` with two processes: by the clock, over the ends of rounds, stopped and continued."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hanlm.tokens import open_tokens
from pretrain.mixture import mixture, steps_of_one_pass


@pytest.mark.slow
@pytest.mark.fault(3)
def test_a_run_by_the_clock_on_two_data_parallel_processes_is_stopped_by_ctrl_c_and_goes_on(
    settings, tiny_tokens, tmp_path
):
    config = settings(seconds=4.0, global_batch_size=18, micro_batch_size=3)
    keys = ("model", "seconds", "seq_length", "global_batch_size", "micro_batch_size", "precision", "log_every")
    with_ = {key: str(value) if isinstance(value := getattr(config, key), Path) else value for key in keys}
    stage = {"command": "pretrain", "processes": 2, "with": with_ | {"tokens": [str(tiny_tokens)]}}
    (tmp_path / "two.yaml").write_text(json.dumps({"stages": {"model": stage}}))
    command = [sys.executable, "-m", "hanlm", "run", str(tmp_path / "two.yaml"), "--out", str(tmp_path / "run")]
    where = {
        "cwd": Path(__file__).parents[2],
        "env": os.environ | {"OMP_NUM_THREADS": "1"},
        "stderr": subprocess.PIPE,
        "text": True,
    }
    where["env"] |= {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "20"}  # processes that wait for each other for ever are killed

    first = subprocess.Popen(command, **where)
    metrics = tmp_path / "run" / "model.work" / "metrics.jsonl"
    deadline = time.monotonic() + 150
    while not (metrics.is_file() and '"loss"' in metrics.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=100)[1]
    assert first.returncode == 75, said
    assert "Traceback" not in said
    assert "Warning" not in said
    assert "which is saved; run the same command again to resume" in said

    second = subprocess.Popen(command, **where)
    try:
        said = second.communicate(timeout=100)[1]
    except subprocess.TimeoutExpired:
        second.terminate()
        said = second.communicate(timeout=60)[1]
    assert second.returncode == 0, said
    assert "resuming after step" in said
    assert "deprecat" not in said
    losses = [row for row in map(json.loads, metrics.read_text().splitlines()) if "loss" in row]
    assert [row["step"] for row in losses] == list(range(1, len(losses) + 1))
    shares = mixture([open_tokens(tiny_tokens)], {})
    a_round = steps_of_one_pass(shares, seq_length=config.seq_length, global_batch_size=18)
    assert len(losses) > 2 * a_round
