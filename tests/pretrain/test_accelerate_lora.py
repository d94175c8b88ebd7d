"""LoRA of the accelerate backend: an adapter that PEFT loads, a merged model that is the same, Megatron's losses."""

import dataclasses
import json

import pytest
import torch
from causal_bases import make_causal_base
from peft import PeftModel
from safetensors.torch import load_file

from hanlm.adapters import adapter_base
from hanlm.errors import ConfigError
from hanlm.models import load_model
from pretrain.accelerated.options import AccelerateOptions
from pretrain.config import Phase
from pretrain.train import pretrain
from pretrain.trainable.lora_config import LoraConfig

NUM_BASE = 300
FAMILIES = ("bloom", "opt", "gpt_neox", "gpt2", "llama")
LORA = LoraConfig(rank=4, alpha=8)


@pytest.fixture(scope="module")
def bases(tiny_tokenizer_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {family: make_causal_base(folder / family, family, tiny_tokenizer_folder) for family in FAMILIES}


@pytest.fixture
def lora_run(settings):
    """Return a function that makes the configuration of a run of LoRA on this backend."""

    def make(name="out", **changes):
        defaults = {"backend": "accelerate", "lora": LORA, "steps": 12, "lr": 0.02}
        if "phases" in changes:
            del defaults["steps"], defaults["lr"]
        else:
            defaults["trainable"] = "lora"
        return settings(name, **defaults | changes)

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_loads_the_adapter_and_the_merged_model_predicts_the_same(lora_run, bases, read_losses, family):
    config = lora_run(model=bases[family])
    out = pretrain(config)
    losses = read_losses(out)
    assert losses[1] - losses[12] > 0.1
    adapter = out.with_name("out.adapter")
    assert adapter_base(adapter) == config.model  # an artifact that belongs on the base
    base, merged = load_model(config.model), load_model(out)
    ids = torch.randint(3, 320, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = base(ids).logits
        adapted = PeftModel.from_pretrained(base, str(adapter))(ids).logits
        after = merged(ids).logits
    assert (adapted - before).abs().max() > 0.05
    torch.testing.assert_close(after, adapted, atol=1e-4, rtol=0)
    # Rows of base tokens, and all that is no linear layer, are the base's to the bit.
    old, new = dict(load_model(config.model).named_parameters()), dict(merged.named_parameters())
    table = [n for n, p in merged.named_parameters() if p is merged.get_input_embeddings().weight]
    assert torch.equal(old[table[0]][:NUM_BASE], new[table[0]][:NUM_BASE])
    assert not (old[table[0]][NUM_BASE:] == new[table[0]][NUM_BASE:]).all(dim=1).any()
    vectors = [n for n, p in new.items() if p.ndim == 1]
    assert vectors
    assert all(torch.equal(old[n], new[n]) for n in vectors)


@pytest.mark.parametrize("rows", ["none", "new", "all"])
def test_both_backends_begin_alike_and_give_the_same_losses_and_adapters(lora_run, read_losses, rows):
    """Equal A matrices of equal layers: the seed and the layer's name decide them, not the backend."""
    found = {}
    for backend in ("megatron", "accelerate"):
        out = pretrain(lora_run(backend, backend=backend, rows=rows, lr=1e-2))
        adapter = out.with_name(f"{backend}.adapter")
        settings = json.loads((adapter / "adapter_config.json").read_text())
        found[backend] = read_losses(out), load_file(adapter / "adapter_model.safetensors"), settings
    (theirs, expected, their_settings), (ours, tensors, our_settings) = found["megatron"], found["accelerate"]
    assert max(abs(ours[step] - theirs[step]) for step in range(1, 13)) < 1e-4
    assert theirs[1] - theirs[12] > 0.05  # they did learn
    assert tensors.keys() == expected.keys()
    assert any("token_adapter" in name for name in tensors) == (rows != "none")
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], atol=5e-3, rtol=0, msg=name)
    for settings in (our_settings, their_settings):
        settings["target_modules"] = sorted(settings["target_modules"])
    assert our_settings == their_settings


PHASES = (
    Phase(trainable="new_rows", lr=0.05, steps=3),
    Phase(trainable="lora", rows="new", lr=0.02, steps=3),
    Phase(trainable="embeddings", lr=0.01, steps=3),
    Phase(trainable="lora", rows="none", lr=0.02, steps=3),
)


@pytest.mark.slow
@pytest.mark.parametrize("last", ["lora", "all"])
def test_phases_of_rows_lora_and_all_follow_each_other_as_on_megatron(lora_run, read_weights, read_losses, last):
    """A run that trains all weights too has a model and no adapter."""
    phases = (*PHASES, *((Phase(lr=0.01, steps=3),) if last == "all" else ()))
    runs = {}
    for backend in ("megatron", "accelerate"):
        out = pretrain(lora_run(backend, backend=backend, phases=phases, snapshot_every=6))
        assert out.with_name(f"{backend}.adapter").exists() == (last == "lora")
        half = out.with_name(f"{backend}.snapshots") / "step-6"
        runs[backend] = read_losses(out), read_weights(half) | {f"end {n}": t for n, t in read_weights(out).items()}
    (theirs, expected), (ours, weights) = runs["megatron"], runs["accelerate"]
    assert list(ours.values()) == pytest.approx(list(theirs.values()), abs=2e-4)
    assert len(ours) == 3 * len(phases)
    assert weights.keys() == expected.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], atol=5e-3, rtol=0, msg=name)


def test_each_phase_changes_what_it_names_and_keeps_moments_of_nothing_else(lora_run, bases):
    """Checkpoints in the middle of three phases, of a base with two tables."""
    config = lora_run(model=bases["gpt_neox"], phases=PHASES[:3], save_every=1, keep_checkpoints=20)
    out = pretrain(config)
    folder = out.with_name("out.work") / "checkpoints"
    base = dict(load_model(config.model).named_parameters())
    tables = {name for name in base if "embed_in" in name or "lm_head" in name}
    assert len(tables) == 2
    for step, rows in ((2, 20), (5, 20), (8, 320)):
        moments = load_file(folder / f"step-{step:07}" / "optimizer.safetensors")
        of = {name.rpartition("/")[0] for name in moments if name.endswith("exp_avg")}
        assert {name for name in of if "lora_" not in name} == tables
        assert any("lora_" in name for name in of) == (step == 5)
        assert {moments[f"{name}/{key}"].shape[0] for name in tables for key in ("exp_avg", "exp_avg_sq")} == {rows}
    saved = {step: load_file(folder / f"step-{step:07}" / "model.safetensors") for step in (3, 6, 9)}
    assert {name for name in saved[9] if "lora_" not in name} == tables  # what no phase trains is not saved
    for step in (3, 6):
        for name in tables:
            assert torch.equal(saved[step][name][:NUM_BASE], base[name][:NUM_BASE])
            assert not (saved[step][name][NUM_BASE:] == base[name][NUM_BASE:]).all(dim=1).any()
    updates = [name for name in saved[9] if "lora_B" in name]
    assert updates
    assert all(not saved[3][name].any() and saved[6][name].any() for name in updates)
    assert all(torch.equal(saved[6][name], saved[9][name]) for name in updates)


def test_a_checkpoint_of_new_rows_and_lora_holds_nothing_else(lora_run, bases):
    config = lora_run(model=bases["llama"], phases=PHASES[:2])
    out = pretrain(config)
    saved = load_file(out.with_name("out.work") / "checkpoints" / "step-0000006" / "model.safetensors")
    assert saved.pop("model.embed_tokens.weight").shape[0] == 20
    assert saved
    assert all("lora_" in name for name in saved)


def test_chosen_layers_get_adapters_and_unknown_ones_are_refused_with_names_there_are(lora_run, bases):
    lora = LoraConfig(rank=2, alpha=8.0, targets=("query_key_value", "self_attention.dense"))
    out = pretrain(lora_run(lora=lora, model=bases["bloom"], steps=2))
    folder = out.with_name("out.adapter")
    saved = json.loads((folder / "adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"]) == (2, 8.0)
    assert set(saved["target_modules"]) == set(lora.targets)
    layers = {name.split(".lora_")[0].rpartition(".")[2] for name in load_file(folder / "adapter_model.safetensors")}
    assert {"query_key_value", "dense"} <= layers
    assert "dense_h_to_4h" not in layers
    for name in ("q_proj", "lm_head", "word_embeddings"):
        wrong = lora_run("other", lora=dataclasses.replace(lora, targets=(name,)), model=bases["bloom"])
        with pytest.raises(ConfigError, match=rf"lora.targets names {name}, .* such as query_key_value, dense"):
            pretrain(wrong)


def test_layers_computed_again_change_no_loss_of_lora(lora_run, bases, read_losses):
    plain = lora_run("plain", model=bases["gpt_neox"], rows="none", steps=4)
    less = AccelerateOptions(gradient_checkpointing=True)
    again = lora_run("again", model=bases["gpt_neox"], rows="none", steps=4, accelerate=less)
    expected = read_losses(pretrain(plain))
    assert read_losses(pretrain(again)) == pytest.approx(expected, abs=1e-6)
    assert expected[1] - expected[4] > 0.01
