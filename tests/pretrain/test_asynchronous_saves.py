"""Checkpoints written while training goes on: as whole, as exact and as safe as those that are waited for."""

import dataclasses
import json
import os
import resource
import signal
import threading

import pytest
import torch

from hanlm.artifact import open_artifact
from hanlm.errors import ArtifactError, InputError, Interrupted
from pretrain import loop, session
from pretrain.checkpoints import pending
from pretrain.checkpoints.saving import Saving
from pretrain.megatron.engine import Engine
from pretrain.train import pretrain
from pretrain.weights.checkpoint_tensors import CheckpointTensors

RUN = {"steps": 6, "new_rows_steps": 2, "lr": 0.01}
IN_BACKGROUND = Saving(asynchronous=True)


def folder_of(config):
    return config.out.with_name(config.out.name + ".work") / "checkpoints"


def tracked(config) -> int:
    return json.loads((folder_of(config) / "latest.json").read_text())["step"]


@pytest.fixture(scope="module")
def undisturbed(extended_model, tiny_tokens, tmp_path_factory):
    """Return a function that gives the metrics and weights of a run that waits for its only save."""
    from pretrain.config import PretrainConfig

    known = {}

    def run(precision: str):
        if precision not in known:
            config = PretrainConfig(
                model=extended_model,
                tokens=(tiny_tokens,),
                out=tmp_path_factory.mktemp("whole") / "out",
                seq_length=32,
                global_batch_size=4,
                micro_batch_size=2,
                precision=precision,  # pyright: ignore[reportArgumentType]
                eval_tokens=0,
                log_every=1,
                save_every=0,
                **RUN,  # pyright: ignore[reportArgumentType]
            )
            known[precision] = result(pretrain(config))
        return known[precision]

    return run


def result(out):
    from safetensors.torch import load_file

    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["grad_norm"], row["lr"]) for row in rows], load_file(
        out / "model.safetensors"
    )


def assert_equal(got, wanted) -> None:
    assert got[0] == wanted[0]
    assert got[1].keys() == wanted[1].keys()
    assert all(torch.equal(got[1][name], wanted[1][name]) for name in wanted[1])


@pytest.fixture
def gate(monkeypatch):
    """Hold every write of a checkpoint until the gate is opened."""
    opened, write = threading.Event(), pending._write

    def wait(*args):
        assert opened.wait(60)
        return write(*args)

    monkeypatch.setattr(pending, "_write", wait)
    return opened


@pytest.fixture
def after_step(monkeypatch):
    """Return a function that has something done right after a step, before it can be saved."""
    step, actions = loop.Run._step, {}

    def stepping(self, *args):
        done = step(self, *args)
        actions.pop(self.progress.step, lambda: None)()
        return done

    monkeypatch.setattr(loop.Run, "_step", stepping)
    return actions.__setitem__


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_goes_on_while_a_checkpoint_is_written_which_holds_its_own_moment(
    settings, gate, after_step, undisturbed, precision
):
    """The files of step 3 are written after step 5; the run is then repeated from them."""
    config = settings(**RUN, save_every=3, precision=precision, saving=IN_BACKGROUND, keep_checkpoints=9)
    seen = []
    after_step(5, lambda: (seen.extend(path.name for path in folder_of(config).iterdir()), gate.set()))
    assert_equal(result(pretrain(config)), undisturbed(precision))
    assert seen == ["step-0000003.partial"]
    assert tracked(config) == 8
    (folder_of(config).parent / "published").unlink()
    assert_equal(result(pretrain(dataclasses.replace(config, resume_step=3, overwrite=True))), undisturbed(precision))


@pytest.mark.fault(11)
@pytest.mark.parametrize(("end", "latest"), [("finished", 8), ("stopped", 4), ("refused", 3)])
def test_a_save_that_is_pending_at_the_end_is_waited_for_and_published(
    settings, gate, after_step, monkeypatch, end, latest
):
    """Nothing is written before somebody waits for it."""
    config = settings(**RUN, save_every=3 if end != "finished" else 0, saving=IN_BACKGROUND)
    advance, train_step, steps = pending.PendingSave.advance, Engine.step, []

    def advancing(self, *, until_done):
        if until_done:
            gate.set()
        return advance(self, until_done=until_done)

    def refusing(self, *args, **options):
        steps.append(1)
        if end == "refused" and len(steps) == 5:
            raise InputError("expected finite gradients")
        return train_step(self, *args, **options)

    monkeypatch.setattr(pending.PendingSave, "advance", advancing)
    monkeypatch.setattr(Engine, "step", refusing)
    if end == "finished":
        pretrain(config)
    elif end == "stopped":
        after_step(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted, match="stopped after step 4, which is saved"):
            pretrain(config)
    else:
        with pytest.raises(InputError, match="expected finite gradients"):
            pretrain(config)
    assert tracked(config) == latest
    open_artifact(folder_of(config) / f"step-{latest:07d}", "checkpoint")
    assert not list(folder_of(config).glob("*.partial"))


@pytest.mark.fault(4)
def test_a_full_disk_ends_the_run_with_a_sentence_and_leaves_the_checkpoint_before(settings, after_step, undisturbed):
    config = settings(**RUN, save_every=2, saving=IN_BACKGROUND)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    after_step(4, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard)))
    try:
        with pytest.raises(ArtifactError, match=r"step 4 could not be written .*File too large.*free some space") as e:
            pretrain(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert e.value.exit_code == 2
    assert sorted(path.name for path in folder_of(config).iterdir()) == ["latest.json", "step-0000002"]
    assert tracked(config) == 2
    assert_equal(result(pretrain(config)), undisturbed("fp32"))


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("target", "moment", "latest"),
    [
        ("pretrain.checkpoints.pending._write", "before", 2),
        ("pretrain.checkpoints.checkpoint.seal", "before", 2),
        ("pretrain.checkpoints.checkpoint.Checkpoints._track", "before", 2),
        ("pretrain.checkpoints.checkpoint.Checkpoints._prune", "before", 4),
    ],
)
def test_a_kill_in_the_background_leaves_the_checkpoint_before(settings, kill, undisturbed, target, moment, latest):
    config = settings(**RUN, save_every=2, saving=IN_BACKGROUND)
    kill(config, target, call=2, moment=moment)
    assert tracked(config) == latest
    assert_equal(result(pretrain(config)), undisturbed("fp32"))
    assert not list(folder_of(config).glob("*.partial"))


@pytest.mark.parametrize("saving", [Saving(), IN_BACKGROUND])
def test_snapshots_are_model_artifacts_of_their_own_step_and_training_does_not_wait(
    settings, after_step, monkeypatch, read_weights, saving
):
    config = settings("out", **RUN, save_every=4, snapshot_every=4, saving=saving)
    opened, export = threading.Event(), session.export

    def exporting(*args, **options):
        assert opened.wait(60)
        return export(*args, **options)

    monkeypatch.setattr(session, "export", exporting)
    if saving.asynchronous:
        after_step(6, opened.set)
    else:
        opened.set()
    pretrain(config)
    snapshots = config.out.with_name("out.snapshots")
    names = sorted(path.name for path in snapshots.iterdir())
    assert names == ["step-4"]
    artifact = open_artifact(snapshots / "step-4", "model")
    assert artifact.manifest["counts"]["steps"] == 4
    whole = settings("short", **RUN, save_every=0)
    after_step(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        pretrain(whole)
    exact = CheckpointTensors(folder_of(whole) / "step-0000004")("output_layer.weight")
    assert torch.equal(read_weights(snapshots / "step-4")["lm_head.weight"], exact)


def test_every_nth_checkpoint_stays_besides_the_latest(settings):
    config = settings(steps=8, save_every=1, keep_checkpoints=2, saving=Saving(asynchronous=True, keep_every=3))
    pretrain(config)
    names = sorted(path.name for path in folder_of(config).iterdir())
    assert names == ["latest.json", *(f"step-000000{n}" for n in (3, 6, 7, 8))]
