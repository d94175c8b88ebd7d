"""Who is missing, who runs other code, who sees other files: told to every member in the same sentence."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from hanlm.errors import ConfigError, HanLMError
from hanlm.nodes import Nodes
from hanlm.roll_call import MissingNodes, Presence, disagreement, roll_call

ROOT = Path(__file__).parents[2]


def call(presences: Sequence[Presence | None], *, seconds: float = 30.0, per_node: int = 1) -> list[HanLMError | None]:
    """Call the roll in threads, None for a member that stays away; return what each one raised."""
    from torch.distributed import HashStore

    store, raised = HashStore(), [None] * len(presences)
    names = [f"process {i}" if per_node > 1 else f"host-{i}" for i in range(len(presences))]

    def take_part(index: int, presence: Presence) -> None:
        try:
            roll_call(store, presence, index=index, names=names, seconds=seconds, per_node=per_node)
        except HanLMError as error:
            raised[index] = error

    threads = [threading.Thread(target=take_part, args=(i, p)) for i, p in enumerate(presences) if p is not None]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def member(node: str = "a", **versions: str) -> Presence:
    return Presence(node=node, versions={"torch": "2.9", **versions})


def test_members_that_fit_together_begin():
    assert call([member("a"), member("b"), member("c")]) == [None, None, None]


def test_a_node_that_does_not_come_is_named_to_all_that_did():
    first, absent, third = call([member("a"), None, member("c")], seconds=0.5)
    assert isinstance(first, MissingNodes)
    assert "expected 3 to start together, but host-1 did not come within 0.5 s" in str(first)
    assert str(first) == str(third)
    assert absent is None
    assert first.exit_code == 75


def test_a_process_that_does_not_come_is_named_with_its_node():
    raised = call([member("a"), member("a"), member("b"), None], seconds=0.5, per_node=2)
    assert "but process 3 of b did not come" in str(raised[0])


def test_a_node_of_which_no_process_comes_is_named_by_its_number():
    raised = call([member("a"), member("a"), None, None], seconds=0.5, per_node=2)
    assert "but process 2 of node 1, process 3 of node 1 did not come" in str(raised[0])


def test_a_leader_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hanlm.roll_call._READING_SECONDS", 0.3)
    _, second = call([None, member("b")], seconds=0.1)
    assert isinstance(second, MissingNodes)
    assert "host-0, which calls the others together, did not answer" in str(second)


def test_two_versions_of_a_package_are_refused_with_one_sentence_that_names_both_nodes():
    raised = call([member("a", HanLM="0.1.0+1111"), member("a"), member("b", HanLM="0.1.0+2222")])
    assert all(isinstance(error, ConfigError) for error in raised)
    expected = (
        "the nodes run different code: HanLM is 0.1.0+1111 on a, 0.1.0+2222 on b; install the same on all of them."
    )
    assert {str(error) for error in raised} == {expected}


def test_an_input_that_is_another_one_on_a_node_is_refused():
    there, missing = (Presence(node=n, inputs={"/data/tokens": h}) for n, h in (("a", "12ab"), ("b", "missing")))
    assert disagreement({0: there, 1: missing}).startswith(
        "the nodes read different files: /data/tokens is 12ab on a, missing on b;"
    )


def test_a_nodes_own_trouble_comes_before_what_differs():
    troubled = Presence(node="b", versions={"torch": "2.8"}, trouble="b does not see OUT.")
    assert disagreement({0: member("a"), 1: troubled}) == "b does not see OUT."


def test_a_node_that_the_list_does_not_name_is_refused():
    with pytest.raises(ConfigError, match=r"one of a, b, got \S+;"):
        Nodes.from_environment({"HANLM_NODES": "a,b"})


def agent(node: str, port: int, folder: Path, *, seconds: float) -> "subprocess.Popen[str]":
    """Start an agent that would train, with the code that lies in a folder."""
    env = os.environ | {"PYTHONPATH": str(folder), "HANLM_NODES": "a,b", "HANLM_NODE": node}
    rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"]
    command = [sys.executable, "-m", "hanlm.torchrun", "--nnodes=2", "--nproc-per-node=1", *rendezvous, "-m", "hanlm"]
    return subprocess.Popen(
        command, cwd=folder, env=env | {"HANLM_START_SECONDS": str(seconds)}, stderr=subprocess.PIPE, text=True
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(probe.getsockname()[1], 65000)


@pytest.mark.slow
def test_an_agent_whose_other_node_never_comes_names_it():
    alone = agent("a", free_port(), ROOT, seconds=1)
    _, said = alone.communicate(timeout=120)
    assert alone.returncode == 75, said
    assert said.count("\n") == 1
    assert said.startswith("hanlm: expected 2 to start together, but b did not come within 1 s;")


@pytest.mark.slow
def test_agents_with_other_sources_of_hanlm_are_refused(tmp_path: Path):
    for name in ("hanlm", "pyproject.toml"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    with (tmp_path / "hanlm" / "text.py").open("a") as file:
        file.write("# another line\n")
    port = free_port()
    both = [agent("a", port, ROOT, seconds=100), agent("b", port, tmp_path, seconds=100)]
    said = [process.communicate(timeout=200)[1] for process in both]
    assert [process.returncode for process in both] == [2, 2], said
    assert said[0] == said[1]
    assert said[0].startswith("hanlm: the nodes run different code: HanLM is ")
