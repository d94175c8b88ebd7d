"""`hanlm expand-blocks`: a deeper model that begins as the shallower one, and training of its new layers alone."""

import json
import shutil

import pytest
import torch
from family_bases import BASES, make_base
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from hanlm.errors import ArtifactError, ConfigError, InputError
from pretrain.config import Phase
from pretrain.train import plan, pretrain
from pretrain.trainable.blocks import copies, deeper_config, new_layers, sources
from pretrain.trainable.expand import ExpandBlocksConfig, expand_blocks
from pretrain.trainable.expand import plan as plan_expansion


def logits(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    with torch.no_grad():
        return model(ids).logits


@pytest.fixture(scope="module")
def deeper_model(extended_model, tmp_path_factory):
    return expand_blocks(
        ExpandBlocksConfig(model=extended_model, out=tmp_path_factory.mktemp("deeper") / "m", num_blocks=2)
    )


def test_eight_blocks_come_after_every_fourth_of_llamas_layers_as_in_the_paper():
    layers = sources(32, 8)
    assert len(layers) == 40
    assert copies(layers) == [4, 9, 14, 19, 24, 29, 34, 39]
    assert layers[:6] == [0, 1, 2, 3, 3, 4]


@pytest.mark.parametrize(("num_layers", "num_blocks"), [(2, 1), (3, 2), (5, 3), (7, 7), (22, 5), (28, 8)])
def test_every_layer_stays_in_its_order_and_blocks_are_spread_evenly(num_layers, num_blocks):
    layers = sources(num_layers, num_blocks)
    new = copies(layers)
    assert len(new) == num_blocks
    assert [layer for i, layer in enumerate(layers) if i not in new] == list(range(num_layers))
    gaps = [b - a for a, b in zip([-1, *new], new, strict=False)]
    assert max(gaps) - min(gaps) <= 1
    assert new[-1] == len(layers) - 1


@pytest.mark.parametrize("name", BASES)
def test_a_deeper_model_of_any_family_gives_the_same_logits_to_the_bit(tmp_path, tiny_tokenizer_folder, name):
    base = tmp_path / "base"
    shutil.copytree(tiny_tokenizer_folder, base)
    make_base(base, name)
    out = expand_blocks(ExpandBlocksConfig(model=base, out=tmp_path / "deeper", num_blocks=1))
    ids = torch.randint(0, 200, (2, 16), generator=torch.Generator().manual_seed(0))
    assert torch.equal(logits(out, ids), logits(base, ids))
    before, after = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    assert sum(t.numel() for t in after.values()) > sum(t.numel() for t in before.values())
    assert not any(name.endswith("_proj.weight") and not t.any() for name, t in before.items())
    assert sum(not t.any() for n, t in after.items() if n.endswith(("o_proj.weight", "down_proj.weight"))) == 2


def test_what_config_json_says_of_single_layers_is_said_of_their_copies():
    kinds = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
    config = {"num_hidden_layers": 4, "layer_types": kinds, "max_window_layers": 2}
    deeper = deeper_config(config, sources(4, 2))
    assert deeper["num_hidden_layers"] == 6
    assert deeper["layer_types"] == [kinds[i] for i in (0, 1, 1, 2, 3, 3)]
    assert deeper["max_window_layers"] == 3
    assert deeper_config(config | {"max_window_layers": 28}, sources(4, 2))["max_window_layers"] == 30


def test_the_result_is_an_artifact_that_tells_its_new_layers(deeper_model, extended_model):
    manifest = json.loads((deeper_model / "manifest.json").read_text())
    assert manifest["kind"] == "model"
    assert manifest["inputs"]["model"]["path"] == str(extended_model)
    assert manifest["new_layers"] == list(new_layers(deeper_model, num_layers=4)) == [1, 3]
    assert (deeper_model / "vocab_report.json").read_bytes() == (extended_model / "vocab_report.json").read_bytes()


def test_new_blocks_and_new_rows_learn_and_all_else_stays_to_the_bit(deeper_model, settings, read_losses):
    phases = (Phase(trainable="new_blocks", lr=0.01, steps=8),)
    out = pretrain(settings(model=deeper_model, phases=phases))
    losses = list(read_losses(out).values())
    assert losses[-1] < losses[0]
    assert new_layers(out, num_layers=4) == (1, 3)  # a later run can go on with them
    before, after = load_file(deeper_model / "model.safetensors"), load_file(out / "model.safetensors")
    for name, tensor in before.items():
        if ".layers.1." in name or ".layers.3." in name:
            assert not torch.equal(tensor, after[name]), name
        elif name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert torch.equal(tensor[:300], after[name][:300]), name
            assert not torch.equal(tensor[300:], after[name][300:]), name
        else:
            assert torch.equal(tensor, after[name]), name


def test_without_rows_only_blocks_learn(deeper_model, settings):
    out = pretrain(settings(model=deeper_model, phases=(Phase(trainable="new_blocks", rows="none", lr=0.01, steps=2),)))
    before, after = load_file(deeper_model / "model.safetensors"), load_file(out / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".layers.1." in name or ".layers.3." in name}


def test_a_first_step_has_the_loss_of_the_shallower_model(deeper_model, extended_model, settings, read_losses):
    phases = (Phase(trainable="new_blocks", lr=0.01, steps=1),)
    deeper = read_losses(pretrain(settings("deeper", model=deeper_model, phases=phases)))
    assert deeper == read_losses(pretrain(settings("base", model=extended_model, steps=1)))


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_weights(deeper_model, settings, kill):
    phases = (Phase(trainable="new_blocks", lr=0.01, steps=4), Phase(lr=0.001, steps=3))
    undisturbed = pretrain(settings("undisturbed", model=deeper_model, phases=phases))
    for call in (3, 6):
        config = settings(f"killed-{call}", model=deeper_model, phases=phases, save_every=2)
        kill(config, call=call)
        expected, got = (load_file(f / "model.safetensors") for f in (undisturbed, pretrain(config)))
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_more_blocks_than_layers_and_less_than_one_are_refused(extended_model, tmp_path):
    with pytest.raises(ConfigError, match="more than the model's 2 layers"):
        plan_expansion(ExpandBlocksConfig(model=extended_model, out=tmp_path / "out", num_blocks=3))
    with pytest.raises(ConfigError, match="--num-blocks must be at least 1, got 0"):
        ExpandBlocksConfig(model=extended_model, out=tmp_path / "out", num_blocks=0)


def test_a_dry_run_names_the_layers_and_writes_nothing(extended_model, tmp_path):
    [line] = plan_expansion(ExpandBlocksConfig(model=extended_model, out=tmp_path / "out", num_blocks=1))
    assert "add 1 layers to the 2" in line
    assert "2 of 3, counted from 0" in line
    assert not list(tmp_path.iterdir())


def test_a_finished_folder_is_not_replaced(extended_model, deeper_model):
    with pytest.raises(ArtifactError):
        expand_blocks(ExpandBlocksConfig(model=extended_model, out=deeper_model, num_blocks=1))


def test_a_phase_of_blocks_wants_a_model_that_has_some(settings):
    config = settings(phases=(Phase(trainable="new_blocks", steps=1),))
    for command in (plan, pretrain):
        with pytest.raises(ConfigError, match=r"has none; make it deeper with `hanlm expand-blocks` first"):
            command(config)


def test_a_report_of_another_model_is_refused(deeper_model, settings, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(deeper_model, folder)
    (folder / "manifest.json").unlink()  # a plain folder: what an artifact says is checked by its hash
    (folder / "block_report.json").write_text('{"new_layers": [7]}')
    with pytest.raises(InputError, match=r"should list new_layers below the model's 4 layers, got \[7\]"):
        plan(settings(model=folder, phases=(Phase(trainable="new_blocks", steps=1),)))


LAYOUTS = {
    "TP2": {"tensor_parallel": 2},
    "TP2+SP": {"tensor_parallel": 2, "sequence_parallel": True},
    "PP2": {"pipeline_parallel": 2},
    "PP2, first stage frozen": {"pipeline_parallel": 2},
    "PP2+VPP2": {"pipeline_parallel": 2, "virtual_pipeline": 2},
    "PP2+VPP2, all frozen but the last of four stretches": {"pipeline_parallel": 2, "virtual_pipeline": 2},
    "DP2, distributed optimizer": {"distributed_optimizer": True},
    "DP2, recompute": {"recompute": True},
}


@pytest.mark.slow
def test_at_every_layout_blocks_learn_as_in_one_process_and_the_rest_stays(
    settings, deeper_model, tmp_path, read_weights, read_losses, run_all
):
    """With layer 3 of 4 new and no rows, the first of two stages trains nothing and still has to take part."""
    last_only = tmp_path / "last"
    shutil.copytree(deeper_model, last_only)
    (last_only / "manifest.json").unlink()
    (last_only / "block_report.json").write_text('{"new_layers": [3]}')
    phases = (Phase(trainable="new_blocks", rows="none", lr=0.01, steps=4),)
    models = {name: last_only if "frozen" in name else deeper_model for name in LAYOUTS}
    configs = {
        name: settings(f"layout-{i}", model=models[name], phases=phases, **flags)
        for i, (name, flags) in enumerate(LAYOUTS.items())
    }
    run_all(list(configs.values()), processes=2)
    ones = {m: pretrain(settings(f"one-{m.name}", model=m, phases=phases)) for m in set(models.values())}
    for name, config in configs.items():
        one = ones[models[name]]
        assert list(read_losses(config.out).values()) == pytest.approx(list(read_losses(one).values()), abs=2e-4), name
        before, expected = read_weights(models[name]), read_weights(one)
        for weight, tensor in read_weights(config.out).items():
            torch.testing.assert_close(tensor, expected[weight], atol=2e-3, rtol=0, msg=f"{name}: {weight}")
            is_new = ".layers.3." in weight or (".layers.1." in weight and "frozen" not in name)
            assert torch.equal(tensor, before[weight]) == (not is_new), f"{name}: {weight}"
