"""Processes that start together compare what they run and what they see; real processes, one for each node."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEET = """
import sys
from pathlib import Path
from hanlm.errors import HanLMError
from pretrain.arrival import Meeting, meet
work, inputs, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
try:
    _, rank, size = meet(Meeting(work=work, inputs=(inputs,), start_seconds=seconds))
    print(f"process {rank} of {size} begins")
except HanLMError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def agent_store() -> Iterator[Any]:
    """What the agents of a torchrun keep for their processes."""
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def meet(store: Any, members: Sequence[tuple[Path, Path]], *, world_size: int, seconds: float) -> list[tuple[int, str]]:
    """Run the first processes of a world, each on a node of its own; return their codes and what they said."""
    processes: list[subprocess.Popen[str]] = []
    for rank, (work, inputs) in enumerate(members):
        place = {"RANK": rank, "WORLD_SIZE": world_size, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": True}
        env = os.environ | {name: str(value) for name, value in place.items()}
        env |= {"HANLM_NODE": f"node-{rank}", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", MEET, str(work), str(inputs), str(seconds)]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=120)[0].strip() for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def test_processes_that_see_the_same_files_begin_and_leave_nothing_behind(agent_store, tiny_tokens, tmp_path: Path):
    work = tmp_path / "out.work"
    said = meet(agent_store, [(work, tiny_tokens)] * 2, world_size=2, seconds=100)
    assert said == [(0, "process 0 of 2 begins"), (0, "process 1 of 2 begins")]
    assert not work.exists()


@pytest.mark.slow
def test_a_node_that_does_not_share_the_storage_is_named(agent_store, tiny_tokens, tmp_path: Path, monkeypatch):
    """The second node has a disk of its own there."""
    members = [(tmp_path / "shared", tiny_tokens), (tmp_path / "own", tiny_tokens)]
    said = meet(agent_store, members, world_size=2, seconds=100)
    assert [code for code, _ in said] == [2, 2]
    assert said[0] == said[1]
    assert f"{tmp_path / 'own'} on node-1 is not the folder of that name on node-0" in said[0][1]


def test_a_process_that_never_arrives_is_named_with_its_node(agent_store, tiny_tokens, tmp_path: Path):
    [(code, said)] = meet(agent_store, [(tmp_path / "work", tiny_tokens)], world_size=2, seconds=1)
    assert code == 75
    assert said.startswith("expected 2 to start together, but process 1 did not come within 1 s;")
