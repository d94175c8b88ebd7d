"""Agents that the command starts itself: what decides, what is started again, what a signal does. Programs of bash."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hanlm.errors import ConfigError, Interrupted
from pretrain.launch import agents
from pretrain.launch.agents import AgentFailed, Command
from pretrain.launch.config import ClusterConfig, SlurmOptions, SshOptions, job_name
from pretrain.launch.job import changed
from pretrain.launch.start import job_of
from pretrain.train import plan


@pytest.fixture
def train(settings, monkeypatch):
    """Return a function that runs one bash program for each host, whatever torchrun would have done."""
    monkeypatch.setattr(agents, "_PAUSE_SECONDS", 0.0)

    def run(**programs: str) -> Path:
        hosts = SshOptions(hosts=tuple(programs))
        config = settings(launch="ssh", nodes=len(hosts.hosts), gpus_per_node=0, cluster=ClusterConfig(ssh=hosts))

        def commands(_job: object, attempt: int) -> list[Command]:
            begin = f"attempt={attempt}; "
            return [Command(node=name, argv=("bash", "-c", begin + text)) for name, text in programs.items()]

        monkeypatch.setattr(agents, "commands", commands)
        return agents.run(job_of(config))

    return run


def test_when_one_agent_fails_the_others_are_told_to_stop_and_all_start_again(train, tmp_path: Path, capfd):
    waits = f"if [ $attempt = 0 ]; then cat; echo $attempt >> {tmp_path}/told; exit 75; fi"
    train(a=waits, b="[ $attempt = 1 ] || exit 137")
    assert (tmp_path / "told").read_text() == "0\n"
    assert "b ended with code 137; starting all again (1 of 3)" in capfd.readouterr().err


def test_a_refusal_is_not_tried_again(train, tmp_path: Path, capfd):
    with pytest.raises(AgentFailed, match="b ended the run with code 2") as failed:
        train(a="cat; exit 75", b=f"echo once >> {tmp_path}/calls; echo no such tokens; exit 2")
    assert failed.value.exit_code == 2
    assert (tmp_path / "calls").read_text() == "once\n"
    assert "[b] no such tokens\n" in capfd.readouterr().err


def test_what_always_crashes_is_given_up_with_its_code(train, tmp_path: Path):
    with pytest.raises(AgentFailed) as failed:
        train(a=f"echo x >> {tmp_path}/calls; exit 134")
    assert failed.value.exit_code == 134
    assert len((tmp_path / "calls").read_text().split()) == 4


def test_ctrl_c_stops_every_agent_and_says_that_the_run_can_go_on(train, tmp_path: Path):
    program = f"kill -INT {os.getpid()}; cat; touch {tmp_path}/saved; exit 75"
    with pytest.raises(Interrupted, match="run the same command again"):
        train(a=program)
    assert (tmp_path / "saved").exists()


def test_an_agent_stops_when_the_connection_that_started_it_is_gone(tmp_path: Path):
    program = (
        "import pathlib, signal, sys, time\n"
        "from hanlm.stuck_agent import watch\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "watch(100.0, lambda: None)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HANLM_END_WITH_STDIN": "1"}
    with subprocess.Popen([sys.executable, "-c", program], env=env, stdin=subprocess.PIPE) as agent:
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert agent.poll() is None
        agent.stdin.close()
        assert agent.wait(timeout=30) == 75


@pytest.mark.skipif(sys.platform != "linux", reason="the list of a process's children is Linux's")
def test_an_agent_that_is_stuck_without_processes_is_ended(tmp_path: Path):
    """As one that waits in C++ for a store that has gone: it handles no signal."""
    program = (
        "import signal, time\n"
        "import hanlm.stuck_agent as module\n"
        "module._STOP_SECONDS = 0.5\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "module.watch(100.0, lambda: print('last words', flush=True))\n"
        "time.sleep(60)\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HANLM_END_WITH_STDIN": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 75, done.stderr
    assert done.stdout == "last words\n"


def test_the_remote_script_names_every_node_and_goes_to_each_host_by_the_given_program(settings):
    ssh = SshOptions(hosts=("me@gpu1", "gpu2"), command="ssh -p 2222")
    config = settings(launch="ssh", nodes=2, gpus_per_node=8, cluster=ClusterConfig(ssh=ssh, interface="ib0"))
    first, second = agents.commands(job_of(config), 1)
    assert first.argv[:4] == ("ssh", "-p", "2222", "me@gpu1")
    assert (first.node, second.node) == ("gpu1", "gpu2")
    for line in ("export HANLM_NODES=gpu1,gpu2", "export GLOO_SOCKET_IFNAME=ib0", "export NCCL_DEBUG=WARN"):
        assert line in second.argv[-1]
    assert "--rdzv-endpoint=gpu1:29500 --rdzv-id=hanlm-out-1" in second.argv[-1]
    assert "--local-addr=gpu2" in second.argv[-1]
    assert subprocess.run(["bash", "-n", "-c", second.argv[-1]], check=False).returncode == 0


def test_what_a_launched_run_is_given_is_the_same_run_without_the_launch(settings, tmp_path: Path):
    from hanlm.cli import COMMANDS, config_type
    from hanlm.config import check_keys

    config = settings(launch="local", gpus_per_node=2, steps=7, mix={"zh": 1.0}, report_to=("tensorboard",))
    text = job_of(config).settings()
    import yaml

    given = yaml.safe_load(text)
    check_keys(given, config_type(next(c for c in COMMANDS if c.words == ("pretrain",))), "run.yaml")
    assert not given.keys() & {"launch", "nodes", "gpus_per_node"}
    assert given["steps"] == 7
    assert given["mix"] == {"zh": 1.0}
    assert Path(given["out"]).is_absolute()


def test_only_what_differs_from_the_defaults_is_written_down():
    cluster = ClusterConfig(port=4000, slurm=SlurmOptions(partition="gpu"))
    assert changed(cluster) == {"port": 4000, "slurm": {"partition": "gpu"}}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"nodes": 2}, "add --launch"),
        ({"launch": "slurm"}, "needs --gpus-per-node"),
        ({"launch": "local", "nodes": 2, "gpus_per_node": 0}, "this machine alone"),
        ({"launch": "ssh", "nodes": 2, "gpus_per_node": 0}, "as many --cluster.ssh.hosts as --nodes"),
        ({"launch": "local", "nodes": 0, "gpus_per_node": 0}, "--nodes of at least 1"),
    ],
)
def test_flags_that_do_not_fit_together_are_refused(settings, options: dict, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        settings(**options)


def test_a_launch_under_torchrun_is_refused(settings, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="leave torchrun away"):
        settings(launch="local", gpus_per_node=2)


def test_a_batch_that_the_launched_processes_cannot_share_is_refused_before_anything_starts(settings):
    with pytest.raises(ConfigError, match="must be divisible by --micro-batch-size x data-parallel processes = 2 x 8"):
        plan(settings(launch="slurm", nodes=2, gpus_per_node=4))


def test_going_back_to_an_older_checkpoint_is_not_launched(settings):
    with pytest.raises(ConfigError, match="--resume-step cannot be launched"):
        job_of(settings(launch="slurm", gpus_per_node=1, resume_step=3))


@pytest.mark.parametrize(
    ("out", "name"), [("ZH_7b v2", "hanlm-zh-7b-v2"), ("x" * 80, "hanlm-" + "x" * 34), ("中文", "hanlm")]
)
def test_a_job_has_a_name_that_pods_may_have(out: str, name: str):
    assert job_name(Path(out)) == name


@pytest.mark.parametrize("text", [{"hosts": ("a b",)}, {"hosts": ("-oProxyCommand=x",)}, {"hosts": ("a", "a")}])
def test_hosts_that_are_none_are_refused(text: dict):
    with pytest.raises(ConfigError):
        SshOptions(**text)
