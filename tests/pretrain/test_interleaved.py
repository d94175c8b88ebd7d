"""Interleaved pipelines: stretches of layers that a stage holds; losses of one process, frozen, saved, resumed."""

import dataclasses
import json
import shutil
import signal
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from places import ALONE
from safetensors.torch import load_file

from hanlm.errors import ConfigError
from hanlm.tokens import open_tokens
from pretrain.config import Phase, PretrainConfig
from pretrain.evaluate import Validation
from pretrain.families import read_shape
from pretrain.layout import Layout, check_layout
from pretrain.megatron.chunks import Chunks
from pretrain.megatron.model import _transformer_config
from pretrain.planning.findings import Report
from pretrain.planning.inputs import look_at_inputs
from pretrain.train import check_inputs, plan, pretrain
from pretrain.trainable.lora_config import LoraConfig
from pretrain.weights.convert import local_weights

STEPS, NUM_BASE, NUM_LAYERS = 20, 300, 8
TABLES = ("model.embed_tokens.weight", "lm_head.weight")
INTERLEAVED = {"pipeline_parallel": 2, "virtual_pipeline": 2}
STEP = "pretrain.megatron.engine.Engine.step"
PLACE = dataclasses.replace(ALONE, layout=Layout(pipeline=2, virtual=2), world_size=2)


def make_deep(extended: Path, folder: Path, *, tied: bool) -> Path:
    """Copy the extended model's folder, with a random model of more layers in it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(extended, folder)
    config = LlamaConfig.from_pretrained(str(extended), num_hidden_layers=NUM_LAYERS, tie_word_embeddings=tied)
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def deep(extended_model, tmp_path_factory) -> Path:
    return make_deep(extended_model, tmp_path_factory.mktemp("deep") / "model", tied=False)


@pytest.fixture(scope="module")
def deep_tied(extended_model, tmp_path_factory) -> Path:
    return make_deep(extended_model, tmp_path_factory.mktemp("deep-tied") / "model", tied=True)


@pytest.fixture
def deep_run(settings, deep):
    """Return a function that makes the configuration of a run on the deep model."""

    def make(name: str, **changes) -> PretrainConfig:
        return settings(name, **({"model": deep, "micro_batch_size": 1} | changes))

    return make


def rows(config: PretrainConfig) -> list[dict[str, float]]:
    return [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]


def steps_of(config: PretrainConfig) -> dict[int, tuple[float, float]]:
    return {row["step"]: (row["loss"], row["grad_norm"]) for row in rows(config) if "loss" in row}


def assert_close(config: PretrainConfig, one: PretrainConfig, *, loss: float = 2e-4, weight: float = 2e-3) -> None:
    got, expected = steps_of(config), steps_of(one)
    assert got.keys() == expected.keys() == set(range(1, len(expected) + 1))
    for step, values in expected.items():
        assert got[step] == pytest.approx(values, abs=loss), step
    ours, theirs = (load_file(c.out / "model.safetensors") for c in (config, one))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=weight, rtol=0, msg=name)


@pytest.mark.parametrize(("pipeline", "virtual"), product((2, 4), (1, 2, 4)))
def test_the_layers_of_a_chunk_are_where_megatron_core_has_them(pipeline, virtual):
    from megatron.core.transformer.transformer_layer import get_transformer_layer_offset

    layout, num_layers = Layout(pipeline=pipeline, virtual=virtual), 3 * pipeline * virtual
    config = SimpleNamespace(
        num_layers=num_layers,
        pipeline_model_parallel_size=pipeline,
        virtual_pipeline_model_parallel_size=virtual if virtual > 1 else None,
        num_layers_in_first_pipeline_stage=None,
        num_layers_in_last_pipeline_stage=None,
        pipeline_model_parallel_layout=None,
        account_for_embedding_in_pipeline_split=False,
        account_for_loss_in_pipeline_split=False,
    )
    seen: list[int] = []
    for stage, chunk in product(range(pipeline), range(virtual)):
        layers = layout.layers(num_layers, stage=stage, chunk=chunk)
        stage_of_core = chunk if virtual > 1 else None
        assert layers.start == get_transformer_layer_offset(config, stage_of_core, stage)  # pyright: ignore
        seen.extend(layers)
    assert sorted(seen) == list(range(num_layers))


def test_the_names_of_a_chunk_lead_to_the_layers_that_it_holds(deep):
    shape = read_shape(deep)
    names = [f"chunk{c}.decoder.layers.{i}.mlp.linear_fc2.weight" for c in (0, 1) for i in (0, 1)]
    last = dataclasses.replace(PLACE, pipeline_rank=1)
    weights = local_weights(names, load_file(deep / "model.safetensors").__getitem__, shape, last, vocab_rows=320)
    base = load_file(deep / "model.safetensors")
    for name, layer in zip(names, (2, 3, 6, 7), strict=True):
        assert torch.equal(weights[name], base[f"model.layers.{layer}.mlp.down_proj.weight"]), name


def test_without_virtual_stages_parameters_keep_their_plain_names():
    model = torch.nn.ModuleDict({"embedding": torch.nn.Linear(1, 1, bias=False)})
    assert [name for name, _ in Chunks([model]).named_parameters()] == ["embedding.weight"]
    config = SimpleNamespace(batch_p2p_comm=False)
    both = [torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)]
    for each in both:
        each.config = config
    assert [name for name, _ in Chunks(both).named_parameters()] == ["chunk0.weight", "chunk1.weight"]


def test_interleaving_never_sends_by_batched_operations_with_which_losses_are_silently_wrong(deep):
    config = _transformer_config(read_shape(deep), PLACE, torch.float32, recompute=False)
    assert (config.overlap_p2p_comm, config.batch_p2p_comm) == (True, False)
    config.batch_p2p_comm, config.overlap_p2p_comm = True, False
    with pytest.raises(ConfigError, match="batch_p2p_comm=True"):
        Chunks([SimpleNamespace(config=config)] * 2)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"virtual_pipeline": 2}, "needs --pipeline-parallel of at least 2, got 1"),
        ({"virtual_pipeline": 3, "pipeline_parallel": 2}, "does not divide the model's 8 layers"),
        ({"virtual_pipeline": 8, "pipeline_parallel": 2}, "does not divide the model's 8 layers"),
        ({**INTERLEAVED, "global_batch_size": 3}, "choose a multiple of 2"),
        ({**INTERLEAVED, "micro_batch_size": 4}, "x pipeline stages .* = 4 x 1 x 2; choose a multiple of 8"),
        ({**INTERLEAVED, "backend": "accelerate"}, "virtual-pipeline"),
    ],
)
def test_a_layout_that_cannot_be_interleaved_is_refused_in_one_sentence(deep_run, flags, sentence):
    with pytest.raises(ConfigError, match=sentence) as refused:
        plan(deep_run("refused", **flags))
    assert "\n" not in str(refused.value)


def test_a_number_of_chunks_below_one_is_refused(deep_run):
    with pytest.raises(ConfigError, match="--virtual-pipeline must be at least 1, got 0"):
        deep_run("refused", virtual_pipeline=0)


def test_by_default_a_step_has_as_many_microbatches_as_the_schedule_takes_in_turn(deep_run, monkeypatch):
    config = deep_run("default", **INTERLEAVED, global_batch_size=12, micro_batch_size=None)
    assert config.micro_batch(data_size=1) == 6
    assert config.micro_batch(data_size=2) == 3
    monkeypatch.setenv("WORLD_SIZE", "2")
    shape, _ = check_inputs(config, verify=False)
    check_layout(shape, config.layout, seq_length=config.seq_length)  # pyright: ignore[reportArgumentType]


def test_doctor_looks_at_the_layout_and_says_what_is_wrong_with_it(deep_run, capsys):
    for flags, level in (({}, "ok"), ({"virtual_pipeline": 3}, "fault"), ({"global_batch_size": 3}, "fault")):
        report = Report()
        look_at_inputs(deep_run("doctor", **(INTERLEAVED | flags)), report, is_main=False)
        found = [f for f in report.findings if f.topic == ("model" if "virtual_pipeline" in flags else "layout")]
        assert [f.level for f in found] == [level], flags
    assert "pipeline 2 (2 stretches of layers a stage) x data 1; a process takes 4 x 1 of 4" in capsys.readouterr().out


PHASES = (Phase(trainable="new_rows", lr=0.05, steps=3), Phase(lr=0.01, steps=STEPS - 3))
RUN = {"phases": PHASES, "seq_length": 64, "global_batch_size": 4, "micro_batch_size": 1, "precision": "fp32"}
VALIDATED = {"eval_tokens": 300, "num_evals": 1, "log_every": 1}


@pytest.fixture(scope="module")
def one_process(tiny_tokens, tmp_path_factory):
    """Return a function that gives the configuration of a finished run of RUN in one process."""
    known: dict[Path, PretrainConfig] = {}

    def run(model: Path) -> PretrainConfig:
        if model not in known:
            out = tmp_path_factory.mktemp("one") / "out"
            known[model] = PretrainConfig(model=model, tokens=(tiny_tokens,), out=out, **RUN, **VALIDATED)
            pretrain(known[model])
        return known[model]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [{}, {"virtual_pipeline": 4, "recompute": True, "distributed_optimizer": True}],
    ids=["two stretches", "four stretches, saving memory"],
)
def test_twenty_steps_validations_and_weights_are_those_of_one_process(deep, one_process, together, tmp_path, flags):
    """New rows first, then everything; an odd number of validation batches, which the schedule cannot take."""
    one = one_process(deep)
    config = dataclasses.replace(one, out=tmp_path / "out", **(INTERLEAVED | flags))
    assert together(config, 2) == [(0, "")] * 2
    assert_close(config, one)
    got, expected = ([row for row in rows(c) if "valid/zh" in row] for c in (config, one))
    assert len(got) == len(expected) == 2
    for ours, theirs in zip(got, expected, strict=True):
        for name in ("valid/zh", "valid/en"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4)
    validation = Validation([open_tokens(config.tokens[0])], num_tokens=300, seq_length=64, batch_size=1)
    assert len(list(validation._batches(ALONE))) % 2 == 1


def assert_frozen(base: Path, config: PretrainConfig, *, rows_train: bool, merged: bool) -> None:
    """Require the base's own bits of all that no phase trained."""
    before, after = (load_file(folder / "model.safetensors") for folder in (base, config.out))
    for name, tensor in before.items():
        if name in TABLES:
            assert torch.equal(tensor[:NUM_BASE], after[name][:NUM_BASE]), name
            assert torch.equal(tensor[NUM_BASE:], after[name][NUM_BASE:]) != rows_train, name
        elif "norm" in name or not merged:
            assert torch.equal(tensor, after[name]), name
        else:
            assert not torch.equal(tensor, after[name]), name


LORA = LoraConfig(rank=4, alpha=8)
ROWS = Phase(trainable="new_rows", lr=0.05, steps=5)
LORA_PHASES = tuple(Phase(trainable="lora", rows=which, lr=1e-2, steps=4) for which in ("none", "new"))
PARTS = {
    "rows of isolated documents, distributed optimizer, tied": (
        {"phases": (ROWS,), "distributed_optimizer": True, "isolate_documents": True},
        True,
        False,
    ),
    "LoRA, recomputed, then with rows": ({"phases": LORA_PHASES, "lora": LORA, "recompute": True}, True, True),
}
"""Flags, whether the rows of new tokens train, and whether updates are merged into the matrices."""


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_what_a_phase_does_not_train_keeps_its_bits_and_the_rest_learns_as_in_one_process(
    deep_run, deep, deep_tied, together, part
):
    flags, rows_train, merged = PARTS[part]
    model = deep_tied if "tied" in part else deep
    one = deep_run("one", model=model, **flags)
    config = deep_run("interleaved", model=model, **flags, **INTERLEAVED)
    pretrain(one)
    assert together(config, 2) == [(0, "")] * 2
    assert_close(config, one)
    for each in (one, config):
        assert_frozen(model, each, rows_train=rows_train, merged=merged)


LAYOUTS = {
    "one": (1, {}),
    "PP2": (2, {"pipeline_parallel": 2}),
    "PP2+VPP2": (2, INTERLEAVED),
    "PP2+VPP4": (2, {"pipeline_parallel": 2, "virtual_pipeline": 4}),
    "PP4+VPP2": (4, {"pipeline_parallel": 4, "virtual_pipeline": 2}),
    "PP2+VPP2+DP2": (4, {**INTERLEAVED, "distributed_optimizer": True}),
    "TP2+SP+PP2+VPP2": (4, {**INTERLEAVED, "tensor_parallel": 2, "sequence_parallel": True}),
}
"""Number of processes, and flags."""


@pytest.mark.slow
@pytest.mark.fault(7)
@pytest.mark.parametrize(
    ("model", "layouts"),
    [
        ("deep", ("PP2+VPP2", "one", "PP2+VPP4", "PP2")),
        ("deep_tied", ("PP2+VPP2+DP2", "PP4+VPP2", "TP2+SP+PP2+VPP2")),
    ],
)
def test_a_run_goes_on_with_other_stretches_of_layers_or_none(one_process, together, tmp_path, request, model, layouts):
    """Stopped after step 2, among the new rows, and every 4 steps: the losses of 4 to 18 steps after each resume."""
    one = one_process(request.getfixturevalue(model))
    config = dataclasses.replace(one, out=tmp_path / "moved", keep_checkpoints=9, eval_tokens=0)
    for i, layout in enumerate(layouts[:-1]):
        processes, flags = LAYOUTS[layout]
        ended = together(dataclasses.replace(config, **flags), processes, (0, STEP, 4 if i else 2, signal.SIGTERM))
        assert {code for code, _ in ended} == {75}, ended
    processes, flags = LAYOUTS[layouts[-1]]
    assert together(dataclasses.replace(config, **flags), processes) == [(0, "")] * processes
    assert_close(config, one)


@pytest.mark.slow
def test_at_one_layout_an_interleaved_run_resumes_to_the_bit(deep_run, together):
    same = {"steps": 6, "lr": 0.01, "precision": "bf16", **INTERLEAVED}
    whole, stopped = deep_run("whole", **same), deep_run("stopped", **same)
    assert together(whole, 2) == [(0, "")] * 2
    assert [code for code, _ in together(stopped, 2, (1, STEP, 3, signal.SIGTERM))] == [75, 75]
    assert together(stopped, 2) == [(0, "")] * 2
    assert steps_of(stopped) == steps_of(whole)
    ours, theirs = (load_file(c.out / "model.safetensors") for c in (stopped, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
