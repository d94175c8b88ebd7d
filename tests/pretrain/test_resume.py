"""Stopped, killed, out of space: a run goes on to exactly the result it would have had."""

import dataclasses
import functools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

from hanlm.errors import ArtifactError, Interrupted
from hanlm.locks import LOCK, exclusive
from pretrain import loop
from pretrain.train import pretrain

RUN = {"steps": 6, "new_rows_steps": 2, "save_every": 2, "lr": 0.01}


def after_step(monkeypatch, number: int, action) -> None:
    """Do something right after a step was computed, before it is logged or saved."""
    original = loop.Run._step

    def step(self, *args):
        result = original(self, *args)
        if self.progress.step == number:
            action()
        return result

    monkeypatch.setattr(loop.Run, "_step", step)


@pytest.fixture(scope="module")
def undisturbed(extended_model, tiny_tokens, tmp_path_factory):
    """The same run without interruption, in both precisions."""
    from safetensors.torch import load_file

    from pretrain.config import PretrainConfig

    @functools.cache
    def run(precision: str):
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
            **RUN,  # pyright: ignore[reportArgumentType]
        )
        out = pretrain(config)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return [(r["step"], r["loss"], r["grad_norm"], r["lr"]) for r in rows], load_file(out / "model.safetensors")

    return run


def assert_equals(out: Path, whole) -> None:
    from safetensors.torch import load_file

    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["loss"], r["grad_norm"], r["lr"]) for r in rows] == whole[0]
    weights = load_file(out / "model.safetensors")
    assert weights.keys() == whole[1].keys()
    assert all(torch.equal(weights[name], whole[1][name]) for name in weights)


def write_yaml(config, folder: Path) -> Path:
    path = folder / "run.yaml"
    keys = ("seq_length", "global_batch_size", "micro_batch_size", "precision", "eval_tokens", "log_every", *RUN)
    lines = [f"{k}: {getattr(config, k)}" for k in keys]
    path.write_text(
        "\n".join([*lines, f"model: {config.model}", f"tokens: [{config.tokens[0]}]", f"out: {config.out}"])
    )
    return path


@pytest.mark.fault(1)
@pytest.mark.parametrize(("precision", "step"), [("fp32", 5), ("bf16", 5), ("fp32", 3), ("fp32", 1)])
def test_a_run_killed_in_a_step_resumes_to_the_same_losses_and_weights(settings, kill, undisturbed, precision, step):
    """Saved every 2 steps; a phase ends after step 2. Killed after step 5, three steps are repeated or new."""
    config = settings(**RUN, precision=precision)
    kill(config, call=step)
    assert not config.out.exists()
    assert_equals(pretrain(config), undisturbed(precision))


@pytest.mark.fault(3)
def test_sigterm_finishes_the_step_saves_and_says_how_to_go_on(settings, monkeypatch, undisturbed):
    config = settings(**RUN)
    with monkeypatch.context() as patch:
        original = loop.Run._start_phase

        def start(self):
            original(self)
            os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(loop.Run, "_start_phase", start)
        with pytest.raises(Interrupted, match="step 1, which is saved; run the same command again") as stop:
            pretrain(config)
    assert stop.value.exit_code == 75
    assert (config.out.with_name("out.work") / "checkpoints" / "step-0000001").is_dir()
    assert_equals(pretrain(config), undisturbed("fp32"))


@pytest.fixture
def killed(settings, kill):
    """A run that was killed after step 5, with checkpoints of steps 2 and 4."""
    config = settings(**RUN)
    kill(config, call=5)
    return config, config.out.with_name("out.work") / "checkpoints"


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("target", "call", "moment", "latest"),
    [
        ("megatron.core.dist_checkpointing.strategies.filesystem_async._write_item", 30, "after", 2),
        ("pretrain.checkpoints.checkpoint.seal", 2, "before", 2),
        ("pretrain.checkpoints.checkpoint.seal", 2, "after", 2),
        ("pretrain.checkpoints.checkpoint.Checkpoints._track", 2, "before", 2),
        ("pretrain.checkpoints.checkpoint.Checkpoints._track", 2, "after", 4),
    ],
)
def test_a_kill_while_a_checkpoint_is_written_costs_at_most_that_checkpoint(
    settings, kill, undisturbed, target, call, moment, latest
):
    """Its second: in the tensors, before and after its manifest, before and after the tracker names it."""
    config = settings(**RUN)
    kill(config, target, call=call, moment=moment)
    folder = config.out.with_name("out.work") / "checkpoints"
    assert json.loads((folder / "latest.json").read_text()) == {"step": latest}
    assert any(folder.glob("*.partial")) == ("_track" not in target)
    assert_equals(pretrain(config), undisturbed("fp32"))
    assert not list(folder.glob("*.partial"))


@pytest.mark.fault(4)
def test_a_full_disk_leaves_the_tracker_and_the_checkpoints_alone(killed, undisturbed):
    """A limit on the size of a file fails a write as a full disk does."""
    config, folder = killed
    before = sorted(p.relative_to(folder) for p in folder.rglob("*")), (folder / "latest.json").read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(ArtifactError, match=r"step 6 could not be written .* free some space"):
            pretrain(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (sorted(p.relative_to(folder) for p in folder.rglob("*")), (folder / "latest.json").read_text()) == before
    assert not config.out.exists()
    assert_equals(pretrain(config), undisturbed("fp32"))


@pytest.mark.fault(5)
def test_a_tracker_that_names_a_missing_step_is_an_error_and_an_older_step_is_taken_when_asked(
    killed, undisturbed, settings
):
    config, folder = killed
    shutil.rmtree(folder / "step-0000004")
    with pytest.raises(ArtifactError, match=r"step 4 .*missing; pass --resume-step with one of \[2\]"):
        pretrain(config)
    assert_equals(pretrain(settings(**RUN, resume_step=2)), undisturbed("fp32"))


@pytest.mark.fault(6)
def test_a_flipped_bit_in_a_checkpoint_is_named_with_the_way_back(killed):
    config, folder = killed
    shard = next((folder / "step-0000004").glob("*.distcp"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{shard.name} fails its checksum.*--resume-step with one of \[2\]"):
        pretrain(config)


def test_a_checkpoint_of_another_run_is_refused_and_discarded_only_when_told(killed, settings, read_losses):
    changed = {**RUN, "lr": 0.02}
    with pytest.raises(ArtifactError, match="differs in lr"):
        pretrain(settings(**changed))
    assert len(read_losses(pretrain(settings(**changed, overwrite=True)))) == 8


@pytest.mark.fault(20)
def test_a_checkpoint_of_another_tokenizer_is_refused(killed, settings, make_tokens, extended_model, tmp_path):
    """The model and its tokens agree with each other, but not with what the checkpoint was trained on."""
    model = Path(shutil.copytree(extended_model, tmp_path / "other"))
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    (model / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    tokens = make_tokens(tmp_path / "other-tokens", model)
    with pytest.raises(ArtifactError, match="differs in inputs"):
        pretrain(settings(**RUN, model=model, tokens=(tokens,)))


def test_a_finished_run_starts_anew_when_it_is_to_be_overwritten(settings, read_losses):
    first = read_losses(pretrain(settings(steps=2)))
    assert read_losses(pretrain(settings(steps=2, overwrite=True))) == first
    with pytest.raises(ArtifactError, match="already holds a finished artifact"):
        pretrain(settings(steps=2))


def test_only_the_latest_checkpoints_are_kept(settings):
    config = settings(steps=6, save_every=1, keep_checkpoints=2)
    pretrain(config)
    folder = config.out.with_name("out.work") / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["latest.json", "step-0000005", "step-0000006"]


@pytest.mark.fault(5)
@pytest.mark.parametrize("stop_at", [3, 5])
def test_a_run_that_goes_back_leaves_the_branch_it_came_from(settings, kill, undisturbed, stop_at):
    """Stopped again before or after its first own checkpoint, it goes on from where it went back to."""
    config = settings(**RUN, keep_checkpoints=4)
    kill(config, call=8)
    folder = config.out.with_name("out.work") / "checkpoints"
    assert sorted(p.name for p in folder.glob("step-*")) == [f"step-000000{n}" for n in (2, 4, 6)]
    back = dataclasses.replace(config, resume_step=2, keep_checkpoints=1)
    kill(back, call=stop_at - 2)
    assert json.loads((folder / "latest.json").read_text()) == {"step": 4 if stop_at == 5 else 2}
    if stop_at == 5:
        assert [p.name for p in folder.glob("step-*")] == ["step-0000004"]
    assert_equals(pretrain(dataclasses.replace(config, keep_checkpoints=1)), undisturbed("fp32"))


def test_a_stop_of_a_run_that_went_back_says_that_the_flag_must_go(killed, monkeypatch):
    config, _ = killed
    after_step(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="run the command without --resume-step again"):
        pretrain(dataclasses.replace(config, resume_step=2))


def test_a_second_process_with_the_same_out_is_refused_while_the_first_one_trains(killed):
    config, folder = killed
    with exclusive(folder.parent / LOCK, "out"), pytest.raises(ArtifactError, match="another hanlm process"):
        pretrain(config)


def test_tensorboard_forgets_the_steps_that_are_repeated(settings, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = settings(**RUN, report_to=("tensorboard",), keep_checkpoints=3)
    with monkeypatch.context() as patch:
        after_step(patch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            pretrain(config)
    pretrain(dataclasses.replace(config, resume_step=2))
    board = EventAccumulator(str(config.out.with_name("out.work") / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == list(range(1, 9))


def test_going_on_says_nothing_of_how_torch_loads(killed, capfd):
    """Its warnings are shown by default, but not by pytest."""
    config, _ = killed
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pretrain(config)
    assert not [w for w in caught if issubclass(w.category, UserWarning | FutureWarning) and "torch" in w.filename]
    assert capfd.readouterr().err == "resuming after step 4\n"


def test_the_progress_tells_phase_step_loss_and_rate(settings, monkeypatch, capsys):
    monkeypatch.setattr("hanlm.log._PLAIN_INTERVAL_SECONDS", 0.0)
    pretrain(settings(steps=2, new_rows_steps=1))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pretraining")]
    assert len(lines) == 3
    assert re.fullmatch(
        r"pretraining  33% after 0:0\d, 0:0\d left step 1 of new rows, loss \d\.\d{3}, [\d,]+ tokens/s", lines[0]
    )
    assert re.match(r"pretraining 100% after .* step 3 of all, ", lines[2])


@pytest.mark.fault(3)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ctrl_c_in_a_step_saves_it_and_leaves_with_75(settings, interrupt, undisturbed, tmp_path, precision):
    config = settings(**RUN, precision=precision)
    interrupt("pretrain.megatron.engine.Engine.step", "pretrain", "--config", write_yaml(config, tmp_path))
    assert (config.out.with_name("out.work") / "checkpoints" / "step-0000001").is_dir()
    assert not config.out.exists()
    assert_equals(pretrain(config), undisturbed(precision))


def test_saving_a_small_model_takes_no_process_of_its_own(settings, monkeypatch):
    """megatron-core's synchronous save would start one to hold a queue: 9 to 13 seconds."""
    import multiprocessing.managers

    def refuse(*_args, **_kwargs):
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.managers.BaseManager, "start", refuse)
    started = time.monotonic()
    pretrain(settings(steps=1))
    assert time.monotonic() - started < 60


def test_a_run_by_the_clock_remembers_its_time(settings, monkeypatch, read_losses):
    config = settings(seconds=2.0, new_rows_steps=2)
    with monkeypatch.context() as patch:
        original, sent = loop.Run._step, []

        def step(self, *args):
            result = original(self, *args)
            if self.progress.elapsed_seconds > 1.0 and not sent:
                sent.append(True)
                os.kill(os.getpid(), signal.SIGTERM)
            return result

        patch.setattr(loop.Run, "_step", step)
        with pytest.raises(Interrupted):
            pretrain(config)
    [saved] = (config.out.with_name("out.work") / "checkpoints").glob("step-*")
    elapsed = json.loads((saved / "manifest.json").read_text())["state"]["progress"]["elapsed_seconds"]
    assert 1.0 < elapsed < 2.0
    out = pretrain(config)
    manifest = json.loads((out / "manifest.json").read_text())
    assert 2.0 <= manifest["train_seconds"] < 4.0
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["elapsed_seconds"] >= elapsed
    assert read_losses(out)


@pytest.mark.slow
@pytest.mark.fault(7)
def test_a_run_goes_on_at_another_layout(settings, undisturbed, tmp_path, read_weights):
    """Stopped as one process, continued on two tensor-parallel ones, then on two data-parallel ones."""
    config = settings(**RUN)
    recipe = write_yaml(config, tmp_path)
    program = tmp_path / "stop.py"
    program.write_text(
        "import pretrain.loop as l, os, signal, sys\nstep = l.Run._step\n"
        "def stopping(self, *a):\n"
        "    result = step(self, *a)\n"
        "    if self.progress.step == int(os.environ['STOP_AT']): os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return result\n"
        "l.Run._step = stopping\n"
        "from hanlm.cli import main\nmain(sys.argv[1:])\n"
    )
    torchrun = [sys.executable, "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2", str(program)]
    arguments = ["pretrain", "--config", str(recipe)]
    for stop, command in (
        (3, [sys.executable, str(program), *arguments]),
        (5, [*torchrun, *arguments, "--tensor-parallel", "2"]),
        (0, [*torchrun, *arguments]),
    ):
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "STOP_AT": str(stop), "PYTHONPATH": str(Path(__file__).parents[2])},
            timeout=300,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == (75 if stop else 0), done.stderr[-3000:]
    rows = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    whole, weights = undisturbed("fp32")
    assert [r["step"] for r in rows] == [step for step, *_ in whole]
    assert [r["loss"] for r in rows] == pytest.approx([loss for _, loss, *_ in whole], abs=1e-4)
    for name, tensor in read_weights(config.out).items():
        torch.testing.assert_close(tensor, weights[name], atol=2e-3, rtol=0)
