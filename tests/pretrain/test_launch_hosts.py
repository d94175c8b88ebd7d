"""Two hosts for real: namespaces with their own addresses, an agent on each, one of them lost in the middle."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from network_hosts import HostsUnavailable, NetworkHosts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hosts() -> Iterator[NetworkHosts]:
    try:
        made = NetworkHosts(2)
    except HostsUnavailable as why:
        pytest.skip(f"no network namespaces: {why}")
    yield made
    made.close()


class Launched:
    """A `hanlm pretrain --launch` and what it says, line by line."""

    def __init__(self, config, *flags: str, steps: int) -> None:
        options = {
            "model": config.model,
            "out": config.out,
            "steps": steps,
            "seq-length": 32,
            "global-batch-size": 4,
            "micro-batch-size": 2,
            "precision": "fp32",
            "eval-tokens": 0,
            "log-every": 1,
            "save-every": 20,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.work = config.out.with_name(config.out.name + ".work")
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hanlm", "pretrain", *words, "--tokens", str(config.tokens[0]), *flags],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        self.said.extend(line for line in self.process.stderr)

    def losses(self) -> dict[int, float]:
        path = self.work / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return {row["step"]: row["loss"] for row in rows}

    def wait_until(self, condition: Callable[[], bool], seconds: float = 200) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, "".join(self.said)
            assert time.monotonic() < deadline, "".join(self.said)
            time.sleep(0.02)

    def is_past(self, step: int) -> bool:
        return (self.work / "metrics.jsonl").is_file() and max(self.losses(), default=0) > step

    def num_starts(self) -> int:
        return sum("starting all again" in line for line in self.said)

    def end(self) -> int:
        code = self.process.wait(timeout=300)
        time.sleep(0.1)  # what it said last is still being read
        return code


@pytest.mark.slow
@pytest.mark.fault(8)
def test_a_host_that_dies_and_a_host_that_is_cut_off_cost_nothing_but_time(
    hosts: NetworkHosts, settings, read_weights, tmp_path: Path
):
    steps = 300
    one_host = Launched(
        settings("one"),
        *("--launch", "local", "--gpus-per-node", "0", "--cluster.processes-per-node", "2"),
        steps=steps,
    )
    assert one_host.end() == 0, "".join(one_host.said)

    first, second = hosts.addresses
    two_hosts = Launched(
        settings("two"),
        *("--launch", "ssh", "--nodes", "2", "--gpus-per-node", "0", "--cluster.ssh.hosts", first, second),
        *("--cluster.interface", hosts.interface, "--cluster.ssh.command", hosts.ssh(tmp_path)),
        *("--cluster.step-seconds", "15", "--cluster.start-seconds", "100"),
        steps=steps,
    )
    try:
        two_hosts.wait_until(lambda: two_hosts.is_past(50))
        hosts.power_off(second)
        two_hosts.wait_until(lambda: two_hosts.num_starts() == 1)
        two_hosts.wait_until(lambda: two_hosts.is_past(150))
        hosts.cut_off(second)
        two_hosts.wait_until(lambda: two_hosts.num_starts() == 2)
        hosts.plug_in(second)
        assert two_hosts.end() == 0, "".join(two_hosts.said)
    finally:
        two_hosts.process.terminate()

    said = "".join(two_hosts.said)
    print(said)  # `pytest -rP` shows it
    assert said.count("resuming after step") == 2, said
    assert "lost contact with another one" in said
    assert "Traceback" not in said
    assert len(two_hosts.losses()) == steps
    assert two_hosts.losses() == one_host.losses()
    expected, got = (read_weights(tmp_path / name) for name in ("one", "two"))
    assert expected.keys() == got.keys()
    assert all(expected[name].equal(got[name]) for name in expected)
