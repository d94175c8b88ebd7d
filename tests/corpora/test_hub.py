"""Data sets by name, fetched by the real clients from a hub of this machine: one commit from beginning to end."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from hanlm.artifact import open_artifact
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from tests.support.stub_hub import StubHub, running

OLD, NEW = "a" * 40, "b" * 40
_NUM_SHARDS, _NUM_ROWS = 3, 5


def files(word: str) -> dict[str, bytes]:
    def lines(shard: int) -> bytes:
        texts = (f"{word}：第{shard}册第{row}页，写的是这一天的天气和收成。" for row in range(_NUM_ROWS))
        return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)

    return {f"data/train-{shard}.jsonl": lines(shard) for shard in range(_NUM_SHARDS)} | {"README.md": b"# Days\n"}


@pytest.fixture
def hub() -> Generator[StubHub]:
    stub = StubHub(repo="days/diary", commits={OLD: files("旧"), NEW: files("新")}, branches={"main": OLD, "v1": OLD})
    with running(stub):
        yield stub


def build(hub: StubHub, tmp_path: Path, name: str = "hf:days/diary") -> subprocess.CompletedProcess[str]:
    """Run the command as a person does: the clients read their settings when they are imported."""
    recipe = {"sources": [{"path": name}], "out": str(tmp_path / "corpus"), "valid_fraction": 0.0, "workers": 1}
    (tmp_path / "build.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    command = [sys.executable, "-m", "hanlm", "corpus", "build", "--config", str(tmp_path / "build.yaml")]
    environment = os.environ | hub.environment(str(tmp_path / "home"))
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def words(tmp_path: Path) -> list[str]:
    return [d.text[0] for d in read_documents([tmp_path / "corpus"], Quarantine())]


def first_input(tmp_path: Path) -> dict[str, Any]:
    return open_artifact(tmp_path / "corpus", "corpus").manifest["inputs"]["input-0"]


def test_a_data_set_is_read_at_the_commit_of_its_main_branch_which_the_manifest_names(hub: StubHub, tmp_path: Path):
    done = build(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert words(tmp_path) == ["旧"] * _NUM_SHARDS * _NUM_ROWS
    assert first_input(tmp_path)["hash"] == OLD


@pytest.mark.parametrize("revision", ["v1", pytest.param(OLD, marks=pytest.mark.slow)])
def test_a_revision_may_be_named(hub: StubHub, tmp_path: Path, revision: str):
    hub.branches["main"] = NEW
    done = build(hub, tmp_path, f"hf:days/diary@{revision}")
    assert done.returncode == 0, done.stderr
    assert (set(words(tmp_path)), first_input(tmp_path)["hash"]) == ({"旧"}, OLD)


def test_what_is_pushed_while_a_build_runs_does_not_mix_with_what_it_reads(hub: StubHub, tmp_path: Path):
    hub.moves["main"] = NEW
    done = build(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(set(words(tmp_path))) == 1
    assert hub.branches["main"] == NEW


@pytest.mark.slow
def test_a_build_that_failed_goes_on_with_the_same_commit_and_begins_again_with_another(hub: StubHub, tmp_path: Path):
    hub.broken.add("data/train-2.jsonl")
    failed = build(hub, tmp_path)
    assert (failed.returncode, (tmp_path / "corpus").exists()) == (2, False)
    assert "hf:days/diary" in failed.stderr
    again = build(hub, tmp_path)
    assert "going on" in again.stderr + again.stdout
    hub.broken.clear()
    hub.branches["main"] = NEW
    done = build(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert words(tmp_path) == ["新"] * _NUM_SHARDS * _NUM_ROWS


def test_a_revision_that_is_not_there_is_one_sentence(hub: StubHub, tmp_path: Path):
    done = build(hub, tmp_path, "hf:days/diary@v9")
    assert done.returncode == 2
    assert "hf:days/diary@v9" in done.stderr
    assert "Traceback" not in done.stderr
