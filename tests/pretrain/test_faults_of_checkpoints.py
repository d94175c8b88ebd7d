"""What befalls a run of several processes: killed again and again, a worker lost, a shard gone, a disk full."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hanlm.errors import ArtifactError
from pretrain.checkpoints.saving import Saving
from pretrain.train import pretrain

STEP = "pretrain.megatron.engine.Engine.step"
TWO = {"steps": 6, "new_rows_steps": 2, "lr": 0.01, "save_every": 2, "tensor_parallel": 2, "keep_checkpoints": 9}
WAITING_AND_NOT = pytest.mark.parametrize("saving", [Saving(), Saving(asynchronous=True)], ids=["waiting", "async"])


def folder_of(config) -> Path:
    return config.out.with_name(config.out.name + ".work") / "checkpoints"


def tracked(config) -> int:
    return json.loads((folder_of(config) / "latest.json").read_text())["step"]


def result(out: Path):
    from safetensors.torch import load_file

    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [(row["step"], row["loss"], row["grad_norm"], row["lr"]) for row in rows]
    return losses, load_file(out / "model.safetensors")


def assert_equal(got, wanted) -> None:
    assert got[0] == wanted[0]
    assert got[1].keys() == wanted[1].keys()
    assert all(torch.equal(got[1][name], wanted[1][name]) for name in wanted[1])


MOMENTS = (
    (STEP, 3),
    ("pretrain.loop.Run._step", 3),
    ("pretrain.megatron.backend.restore", 1),
    ("pretrain.checkpoints.pending._write", 3),
    ("megatron.core.dist_checkpointing.strategies.filesystem_async._write_item", 120),
    ("pretrain.checkpoints.checkpoint.seal", 3),
    ("pretrain.checkpoints.checkpoint.Checkpoints._track", 3),
    ("pretrain.checkpoints.checkpoint.Checkpoints._remove", 4),
)
"""Functions, and how often they are called at most before the kill."""


@pytest.mark.slow
@pytest.mark.fault(1)
@pytest.mark.fault(2)
def test_twenty_kills_at_random_moments_change_nothing(settings, kill):
    """In steps, while loading, and in all parts of saving, which changes between waiting and not waiting."""
    run = {"steps": 55, "new_rows_steps": 5, "lr": 0.01, "save_seconds": 0.0}
    whole = result(pretrain(settings("whole", **run, save_every=0)))
    draw = random.Random(7)
    config = settings(**run, save_every=1)
    kill(config, call=2)
    partial, reached = 0, [tracked(config)]
    for _ in range(19):
        target, most = draw.choice(MOMENTS)
        saving = Saving(asynchronous=draw.random() < 0.5)
        call, moment = draw.randint(1, most), draw.choice(("before", "after"))
        kill(dataclasses.replace(config, saving=saving), target, call=call, moment=moment)
        partial += bool(list(folder_of(config).glob("*.partial")))
        reached.append(tracked(config))
    assert partial >= 5
    assert reached == sorted(reached)
    assert 10 <= reached[-1] < 60
    assert_equal(result(pretrain(config)), whole)


@pytest.fixture(scope="module")
def whole_of_two(extended_model, tiny_tokens, tmp_path_factory):
    """Return a function that gives the result of an undisturbed run of two tensor-parallel processes."""
    known = {}

    def run(config, together):
        if not known:
            out = tmp_path_factory.mktemp("two") / "out"
            assert together(dataclasses.replace(config, out=out), 2) == [(0, "")] * 2
            known["result"] = result(out)
        return known["result"]

    return run


@pytest.mark.fault(4)
@WAITING_AND_NOT
@pytest.mark.slow
def test_a_disk_that_is_full_for_one_of_two_processes_ends_both_with_one_sentence(
    settings, together, whole_of_two, saving
):
    config = settings(**TWO, saving=saving)
    ended = together(config, 2, (1, "pretrain.checkpoints.pending._write", 2, signal.SIGXFSZ))
    assert [code for code, _ in ended] == [2, 2], ended
    for _, said in ended:
        assert said.startswith("the checkpoint of step 4 could not be written to")
        assert "process 1: OSError: __1_" in said
        assert "File too large" in said
    assert sorted(path.name for path in folder_of(config).iterdir()) == ["latest.json", "step-0000002"]
    assert tracked(config) == 2
    assert together(config, 2) == [(0, "")] * 2
    assert_equal(result(config.out), whole_of_two(config, together))


@pytest.fixture
def killed_two(settings, together):
    """A run of two tensor-parallel processes with checkpoints of steps 2 and 4, one of which was killed in step 6."""
    config = settings(**TWO, saving=Saving(asynchronous=True))
    ended = together(config, 2, (1, STEP, 7, signal.SIGKILL))
    assert ended[1][0] == -signal.SIGKILL
    shutil.rmtree(folder_of(config) / "step-0000006", ignore_errors=True)
    (folder_of(config) / "latest.json").write_text('{"step": 4}')
    return config


@pytest.mark.slow
@pytest.mark.fault(5)
@pytest.mark.fault(6)
@pytest.mark.parametrize("damage", ["lost shard", "flipped bit", "cut file", "stale tracker", "damaged tracker"])
def test_damage_is_named_by_every_process_with_the_way_back(killed_two, together, whole_of_two, damage):
    folder = folder_of(killed_two)
    [shard, *_] = sorted((folder / "step-0000004").glob("__1_*.distcp"))
    expected = f"{shard} fails its checksum"
    if damage == "lost shard":
        shard.unlink()
        expected = f"{shard} is missing from its artifact"
    elif damage == "flipped bit":
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 16
        shard.write_bytes(data)
    elif damage == "cut file":
        os.truncate(shard, 100)
        expected = f"{shard} should hold"
    elif damage == "stale tracker":
        (folder / "latest.json").write_text('{"step": 6}')
        expected = "expected the checkpoint of step 6"
    else:
        (folder / "latest.json").write_text('{"st')
        expected = f"{folder / 'latest.json'} is damaged"
    ended = together(killed_two, 2)
    assert [code for code, _ in ended] == [2, 2], ended
    remaining = [2] if "tracker" not in damage else [2, 4]
    for _, said in ended:
        assert said.startswith(expected), said
        assert f"--resume-step with one of {remaining}" in said
    assert together(dataclasses.replace(killed_two, resume_step=2), 2) == [(0, "")] * 2
    assert_equal(result(killed_two.out), whole_of_two(killed_two, together))


def test_a_checkpoint_says_which_sample_comes_next_and_what_the_order_is_made_of(settings, kill):
    config = settings(steps=6, save_every=2)
    kill(config, call=5)
    manifest = json.loads((folder_of(config) / "step-0000004" / "manifest.json").read_text())
    cursor = manifest["state"]["cursor"]
    assert cursor["next_sample"] == cursor["round_sample"] == 4 * 4
    assert (cursor["round"], cursor["seed"], len(cursor["index_sha256"])) == (0, 0, 64)


def test_another_order_of_the_data_than_the_checkpoints_is_refused(settings, kill, monkeypatch):
    """As another version of numpy would shuffle."""
    from megatron.core.datasets import gpt_dataset

    config = settings(steps=6, save_every=2)
    kill(config, call=5)
    shuffle = gpt_dataset._build_shuffle_index
    with monkeypatch.context() as patch:
        patch.setattr(gpt_dataset, "_build_shuffle_index", lambda *args: shuffle(*args)[::-1].copy())
        with pytest.raises(ArtifactError, match=r"after step 4 to go on with index_sha256 [0-9a-f]{64}, .* got"):
            pretrain(config)
    assert len(result(pretrain(config))[0]) == 6


def test_a_process_that_reads_another_order_than_the_first_is_named():
    from types import SimpleNamespace

    import numpy as np

    from pretrain.data.cursor import index_hash

    one = SimpleNamespace(document_index=np.arange(3), sample_index=np.zeros((2, 2)), shuffle_index=np.arange(2))
    train = SimpleNamespace(dataset_index=np.zeros(4), dataset_sample_index=np.arange(4), datasets=[one])
    alone, torn = (SimpleNamespace(share=share) for share in (lambda v: [v], lambda v: [v, v, "other"]))
    assert index_hash(train, alone) == index_hash(train, alone)
    with pytest.raises(ArtifactError, match="process 2 read another one than process 0"):
        index_hash(train, torn)
    before = index_hash(train, alone)
    one.shuffle_index = one.shuffle_index[::-1]
    assert index_hash(train, alone) != before


@pytest.mark.slow
@pytest.mark.fault(8)
def test_torchrun_restarts_workers_that_die_and_training_goes_on(settings, together, tmp_path):
    """The first process, which holds the lock and writes the metrics, is killed in step 4."""
    config = settings(steps=8, save_every=1, lr=0.01)
    whole = dataclasses.replace(config, out=tmp_path / "whole")
    assert together(whole, 2) == [(0, "")] * 2
    program = tmp_path / "dying.py"
    program.write_text(
        "import os, signal, sys\nimport pretrain.loop as l\nstep = l.Run._step\n"
        "def dying(self, *a):\n"
        "    result = step(self, *a)\n"
        "    where = self.progress.step, os.environ['RANK'], os.environ['TORCHELASTIC_RESTART_COUNT']\n"
        "    if where == (4, '0', '0'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return result\n"
        "l.Run._step = dying\n"
        "from hanlm.cli import main\nmain(sys.argv[1:])\n"
    )
    command = [sys.executable, "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command += [str(program), "pretrain", "--model", str(config.model), "--tokens", str(config.tokens[0])]
    for name in ("out", "steps", "lr", "save_every", "seq_length", "global_batch_size", "micro_batch_size"):
        command += [f"--{name.replace('_', '-')}", str(getattr(config, name))]
    command += ["--precision", "fp32", "--eval-tokens", "0", "--log-every", "1", "--saving.asynchronous"]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("resuming after step") == 1
    assert_equal(result(config.out), result(whole.out))
