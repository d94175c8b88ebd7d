"""A run of the accelerate backend that is stopped, killed or damaged goes on to exactly what it would have been."""

import dataclasses
import functools
import json
import resource
from pathlib import Path

import pytest
import torch
from causal_bases import make_causal_base
from safetensors.torch import load_file

from hanlm.errors import ArtifactError, Interrupted
from pretrain import loop
from pretrain.config import PretrainConfig
from pretrain.train import pretrain
from pretrain.trainable.lora_config import LoraConfig

RUN = {"steps": 6, "new_rows_steps": 2, "save_every": 2, "lr": 0.01}
LORA = LoraConfig(rank=4)


@pytest.fixture(scope="module")
def bases(tiny_tokenizer_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {name: make_causal_base(folder / name, name, tiny_tokenizer_folder) for name in ("bloom", "gpt_neox")}


@pytest.fixture(scope="module")
def _kill_server(_kill_server_with_transformers):
    """Its forks find transformers imported."""
    return _kill_server_with_transformers


@pytest.fixture(scope="module")
def configure(bases, tiny_tokens, tmp_path_factory):
    """Return a function that gives the configuration of a run: whole weights in fp32 or bf16, or LoRA."""

    def make(kind: str) -> PretrainConfig:
        return PretrainConfig(
            backend="accelerate",
            trainable="lora" if kind == "lora" else "all",
            lora=LORA if kind == "lora" else LoraConfig(),
            model=bases["gpt_neox" if kind == "lora" else "bloom"],
            tokens=(tiny_tokens,),
            out=tmp_path_factory.mktemp("run") / "out",
            seq_length=32,
            global_batch_size=4,
            micro_batch_size=2,
            precision="bf16" if kind == "bf16" else "fp32",
            eval_tokens=0,
            log_every=1,
            **RUN,  # pyright: ignore[reportArgumentType]
        )

    return make


def read_run(out: Path):
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(r["step"], r["loss"], r["grad_norm"], r["lr"]) for r in rows], load_file(out / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(configure):
    return functools.cache(lambda kind: read_run(pretrain(configure(kind))))


def assert_equals(out: Path, whole) -> None:
    rows, weights = read_run(out)
    assert rows == whole[0]
    assert len(rows) == RUN["steps"] + RUN["new_rows_steps"]
    assert weights.keys() == whole[1].keys()
    assert all(torch.equal(weights[name], whole[1][name]) for name in weights)


@pytest.mark.slow
@pytest.mark.fault(1)
@pytest.mark.parametrize(("kind", "step"), [("fp32", 5), ("bf16", 5), ("lora", 5), ("fp32", 3), ("lora", 1)])
def test_a_run_killed_in_a_step_resumes_to_the_same_losses_and_weights(configure, kill, undisturbed, kind, step):
    """Saved every 2 steps; a phase ends after step 2. Killed after step 5, three steps are repeated or new."""
    config = configure(kind)
    kill(config, call=step)
    assert not config.out.exists()
    assert_equals(pretrain(config), undisturbed(kind))


@pytest.mark.slow
@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("target", "call", "latest"),
    [
        ("pretrain.accelerated.backend.write_tensors", 2, 2),
        ("pretrain.checkpoints.checkpoint.Checkpoints._track", 2, 4),
    ],
)
def test_a_kill_while_a_checkpoint_is_written_costs_at_most_that_checkpoint(
    configure, kill, undisturbed, target, call, latest
):
    """Between the weights and the moments of the second one (the first, between phases, has none); after it."""
    config = configure("fp32")
    kill(config, target, call=call)
    folder = config.out.with_name("out.work") / "checkpoints"
    assert json.loads((folder / "latest.json").read_text()) == {"step": latest}
    assert any(folder.glob("*.partial")) == (latest == 2)
    assert_equals(pretrain(config), undisturbed("fp32"))
    assert not list(folder.glob("*.partial"))


@pytest.mark.fault(3)
@pytest.mark.parametrize("kind", ["fp32", "lora"])
def test_ctrl_c_in_a_step_saves_it_and_leaves_with_75(configure, interrupt, undisturbed, tmp_path, kind):
    config = configure(kind)
    keys = ("seq_length", "global_batch_size", "micro_batch_size", "precision", "eval_tokens", "log_every", *RUN)
    lines = [f"{k}: {getattr(config, k)}" for k in (*keys, "backend", "model", "out", "trainable")]
    lines += [f"tokens: [{config.tokens[0]}]", f"lora: {{rank: {config.lora.rank}}}"]
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    interrupt("pretrain.accelerated.engine.AccelerateEngine.step", "pretrain", "--config", tmp_path / "run.yaml")
    assert (config.out.with_name("out.work") / "checkpoints" / "step-0000001").is_dir()
    assert not config.out.exists()
    assert_equals(pretrain(config), undisturbed(kind))


@pytest.fixture
def stopped(configure):
    """A run that was stopped after step 5, with checkpoints of steps 4 and 5."""
    config = configure("fp32")
    original = loop.Run._step

    def step(self, phase, stop):
        result = original(self, phase, stop)
        return result[0], self.progress.step == 5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "_step", step)
        with pytest.raises(Interrupted, match="stopped after step 5, which is saved"):
            pretrain(config)
    return config, config.out.with_name("out.work") / "checkpoints"


@pytest.mark.fault(6)
@pytest.mark.parametrize("name", ["model", "optimizer"])
def test_a_flipped_bit_in_a_checkpoint_is_named_with_the_way_back(stopped, name):
    config, folder = stopped
    file = folder / "step-0000005" / f"{name}.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{name}.safetensors fails its checksum.*--resume-step with one of \[4\]"):
        pretrain(config)


@pytest.mark.fault(4)
def test_a_full_disk_leaves_the_tracker_and_the_checkpoints_alone(stopped, undisturbed):
    """A limit on the size of a file fails a write as a full disk does."""
    config, folder = stopped
    before = sorted(p.relative_to(folder) for p in folder.rglob("*")), (folder / "latest.json").read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(ArtifactError, match=r"step 6 could not be written .* free some space"):
            pretrain(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (sorted(p.relative_to(folder) for p in folder.rglob("*")), (folder / "latest.json").read_text()) == before
    assert_equals(pretrain(config), undisturbed("fp32"))


def test_a_checkpoint_holds_safetensors_alone(stopped):
    """Reading one never runs code."""
    _, folder = stopped
    names = sorted(p.name for p in (folder / "step-0000005").iterdir())
    assert names == ["manifest.json", "model.safetensors", "optimizer.safetensors"]
    moments = load_file(folder / "step-0000005" / "optimizer.safetensors")
    assert {name.rpartition("/")[2] for name in moments} == {"exp_avg", "exp_avg_sq", "step"}


def test_a_checkpoint_of_the_other_backend_or_of_whole_weights_is_refused(stopped):
    config, _ = stopped
    with pytest.raises(ArtifactError, match=r"differs in .*trainable"):
        pretrain(dataclasses.replace(config, trainable="lora"))
