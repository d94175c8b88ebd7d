"""Groups of weights with learning rates of their own: they train, and are logged, by those."""

import json

import pytest
import torch
from by_hand import batches_of
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from hanlm.errors import ConfigError
from pretrain.config import Phase
from pretrain.train import plan, pretrain

TINY = 1e-30
"""A rate at which no weight moves in fp32."""
TABLES = {"model.embed_tokens.weight": "embeddings", "lm_head.weight": "head"}


def moved(before, after) -> set[str]:
    first, last = (load_file(path / "model.safetensors") for path in (before, after))
    return {name for name in first if not torch.equal(first[name], last[name])}


def rates_of(folder) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key.split("/")[0] == "lr"} for row in rows if "loss" in row]


@pytest.mark.parametrize("distributed_optimizer", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_group_without_a_rate_to_speak_of_stays_and_all_others_move(
    settings, extended_model, precision, distributed_optimizer
):
    for group in ("embeddings", "head", "norms"):
        config = settings(
            f"{group}-{precision}",
            steps=2,
            lr=0.01,
            warmup_ratio=0.0,
            group_lr={group: TINY},
            precision=precision,
            distributed_optimizer=distributed_optimizer,
            weight_decay=0.0,
        )
        out = pretrain(config)
        names = set(load_file(extended_model / "model.safetensors"))
        stays = {name for name in names if TABLES.get(name, "norms" if "norm" in name else "") == group}
        assert stays
        assert moved(extended_model, out) == names - stays


def test_rates_are_those_that_torch_would_train_the_groups_with(settings, extended_model, tmp_path, read_losses):
    """No warmup and no decay of rates: AdamW with two groups, by hand."""
    config = settings(steps=5, lr=0.01, group_lr={"head": 0.002}, warmup_ratio=0.0, min_lr_ratio=0.999999)
    model = AutoModelForCausalLM.from_pretrained(str(extended_model), dtype=torch.float32)
    head = model.lm_head.weight
    others = [p for p in model.parameters() if p is not head]
    groups = [
        {"params": [head], "lr": 0.002, "weight_decay": 0.1},
        {"params": [p for p in others if p.ndim > 1], "lr": 0.01, "weight_decay": 0.1},
        {"params": [p for p in others if p.ndim == 1], "lr": 0.01, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    losses = []
    for input_BT, label_BT in batches_of(config, 5, tmp_path / "cache"):
        loss = torch.nn.functional.cross_entropy(model(input_BT).logits.flatten(0, 1), label_BT.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert list(read_losses(pretrain(config)).values()) == pytest.approx(losses, abs=1e-5)


def test_every_group_has_its_own_line_in_the_metrics(settings):
    out = pretrain(settings(steps=4, lr=0.001, group_lr={"embeddings": 0.01, "norms": 0.0001}, warmup_ratio=0.0))
    for rates in rates_of(out):
        assert rates.keys() == {"lr", "lr/embeddings", "lr/norms"}
        assert rates["lr/embeddings"] == pytest.approx(10 * rates["lr"])
        assert rates["lr/norms"] == pytest.approx(0.1 * rates["lr"])


def test_rows_and_lora_have_rates_of_their_own_too(settings, extended_model):
    phase = Phase(trainable="lora", lr=0.001, group_lr={"embeddings": TINY, "lora_b": 0.016}, steps=3)
    out = pretrain(settings(phases=(phase,)))
    assert [rates["lr/lora_b"] / rates["lr"] for rates in rates_of(out)] == pytest.approx([16.0] * 3)
    changed = moved(extended_model, out)
    assert "model.embed_tokens.weight" not in changed
    assert "lm_head.weight" in changed


def test_a_run_with_group_rates_that_was_killed_goes_on_to_the_same_weights(settings, kill, read_weights):
    changes = {"group_lr": {"embeddings": 0.0003, "norms": 0.01}, "steps": 6}
    undisturbed = read_weights(pretrain(settings("undisturbed", **changes)))
    config = settings("killed", save_every=2, **changes)
    kill(config, call=4)
    weights = read_weights(pretrain(config))
    assert all(torch.equal(undisturbed[name], weights[name]) for name in undisturbed)


@pytest.mark.parametrize(
    ("trainable", "rates", "said"),
    [
        ("all", {"embedding": 1e-3}, r"expects some of embeddings, head, norms, new_blocks; got 'embedding'"),
        ("new_rows", {"norms": 1e-3}, "expects some of embeddings, head; got 'norms'"),
        ("all", {"head": 0.0}, "expected a positive rate of head, got 0"),
        ("all", {"lora_b": 1.0}, "got 'lora_b'"),
    ],
)
def test_groups_that_a_phase_does_not_train_are_refused(trainable, rates, said):
    with pytest.raises(ConfigError, match=said):
        Phase(trainable=trainable, group_lr=rates, steps=1)


def test_a_rate_of_rows_that_do_not_train_is_refused():
    with pytest.raises(ConfigError, match="expects some of lora_b; got 'embeddings'"):
        Phase(trainable="lora", rows="none", group_lr={"embeddings": 1e-3}, steps=1)


def test_a_tied_model_has_no_head_and_a_plain_one_no_new_blocks(settings, tied_model):
    with pytest.raises(ConfigError, match=r"group_lr names head, but the output layer of .* is its embedding"):
        plan(settings(model=tied_model, steps=1, group_lr={"head": 1e-3}))
    with pytest.raises(ConfigError, match="has none; make it deeper"):
        plan(settings(steps=1, group_lr={"new_blocks": 1e-3}))


def test_a_rate_of_rows_that_a_model_without_new_tokens_does_not_train_is_refused(settings, tiny_model_folder):
    phase = Phase(trainable="lora", group_lr={"embeddings": 1e-3}, steps=1)
    with pytest.raises(ConfigError, match="has no new tokens and the phase trains no other rows"):
        plan(settings(model=tiny_model_folder, phases=(phase,)))


def test_a_run_of_phases_takes_rates_from_them(settings):
    with pytest.raises(ConfigError, match="belongs to --steps and --seconds"):
        settings(phases=(Phase(steps=1),), group_lr={"head": 1e-3})


def test_a_dry_run_tells_the_rates(settings):
    lines = plan(settings(steps=3, lr=0.001, group_lr={"embeddings": 0.0002}))
    assert "3 steps of all at a rate of up to 0.001, 0.0002 for embeddings" in lines


@pytest.mark.slow
def test_both_copies_of_a_tied_table_have_the_rate_of_embeddings(settings, tied_model, read_weights, run_all):
    """The last of two stages holds the embedding as its output layer: apart, the copies would drift."""
    phases = (Phase(lr=0.01, group_lr={"embeddings": 0.001}, steps=4),)
    two = settings("two", model=tied_model, phases=phases, pipeline_parallel=2)
    run_all([two], processes=2)
    one = read_weights(pretrain(settings("one", model=tied_model, phases=phases)))
    for name, tensor in read_weights(two.out).items():
        torch.testing.assert_close(tensor, one[name], atol=2e-3, rtol=0, msg=name)
