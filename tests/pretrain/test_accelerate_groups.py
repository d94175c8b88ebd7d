"""Rates by group and phases of new layers on the accelerate backend: Megatron's losses and weights."""

import json

import pytest
import torch
from causal_bases import make_causal_base

from hanlm.errors import ConfigError
from hanlm.models import load_model
from pretrain.config import Phase
from pretrain.train import plan, pretrain
from pretrain.trainable.expand import ExpandBlocksConfig, expand_blocks
from pretrain.trainable.lora_config import LoraConfig

TINY = 1e-30
"""A rate at which no weight moves in fp32, but for one that was 0."""


@pytest.fixture(scope="module")
def deeper_model(extended_model, tmp_path_factory):
    return expand_blocks(
        ExpandBlocksConfig(model=extended_model, out=tmp_path_factory.mktemp("deeper") / "model", num_blocks=2)
    )


def rates_of(folder) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key.split("/")[0] == "lr"} for row in rows if "loss" in row]


PHASES = {
    "groups of all": Phase(lr=0.01, steps=6, group_lr={"embeddings": 1e-3, "head": 2e-3, "norms": 3e-3}),
    "new blocks and rows": Phase(trainable="new_blocks", lr=0.01, steps=6, group_lr={"head": 1e-3}),
    "LoRA+": Phase(trainable="lora", lr=2e-3, steps=6, group_lr={"lora_b": 0.02, "embeddings": 1e-3}),
}


@pytest.mark.parametrize("name", PHASES)
def test_rates_by_group_and_new_layers_train_as_on_megatron(settings, deeper_model, read_losses, read_weights, name):
    found = {}
    for backend in ("megatron", "accelerate"):
        out = pretrain(settings(backend, backend=backend, model=deeper_model, phases=(PHASES[name],)))
        found[backend] = read_losses(out), rates_of(out), read_weights(out)
    (theirs, their_rates, expected), (ours, our_rates, weights) = found["megatron"], found["accelerate"]
    assert list(ours.values()) == pytest.approx(list(theirs.values()), abs=1e-4)
    assert [dict(sorted(rates.items())) for rates in our_rates] == [
        dict(sorted(rates.items())) for rates in their_rates
    ]
    assert len(our_rates[0]) == 1 + len(PHASES[name].group_lr)
    base = read_weights(deeper_model)
    changed = {weight for weight, tensor in weights.items() if not torch.equal(tensor, base[weight])}
    assert changed == {weight for weight, tensor in expected.items() if not torch.equal(tensor, base[weight])}
    for weight, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[weight], atol=3e-3, rtol=0, msg=weight)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_groups_are_found_whatever_a_family_calls_its_weights(settings, tiny_tokenizer_folder, tmp_path, family):
    model = make_causal_base(tmp_path / family, family, tiny_tokenizer_folder)
    before = dict(load_model(model).named_parameters())
    groups = {"embeddings": {"wte", "embed_in"}, "head": {"lm_head"}, "norms": {"ln_1", "ln_2", "ln_f", "norm"}}
    for group, words in groups.items():
        if group == "head" and family == "gpt2":
            continue  # tied
        config = settings(f"{group}-{family}", backend="accelerate", model=model, group_lr={group: TINY}, lr=0.01)
        after = dict(load_model(pretrain(config)).named_parameters())
        stays = {name for name in before if any(word in name for word in words)}
        assert stays
        assert {name for name in before if (before[name] - after[name]).abs().max() < 1e-20} == stays


def test_a_head_that_is_the_embedding_has_no_rate_and_a_base_without_new_layers_no_phase(
    settings, tiny_tokenizer_folder, tmp_path
):
    model = make_causal_base(tmp_path / "gpt2", "gpt2", tiny_tokenizer_folder)
    with pytest.raises(ConfigError, match=r"output layer of .* is its embedding"):
        plan(settings(backend="accelerate", model=model, group_lr={"head": 1e-3}))
    with pytest.raises(ConfigError, match="has none; make it deeper with `hanlm expand-blocks`"):
        plan(settings(backend="accelerate", model=model, trainable="new_blocks"))
    with pytest.raises(ConfigError, match="a phase of lora expects some of embeddings, head, lora_b; got 'norms'"):
        settings(backend="accelerate", trainable="lora", lora=LoraConfig(rank=2), group_lr={"norms": 1e-3})
