"""LoRA over Megatron's fused layers: PEFT's losses, at every layout, and an adapter that PEFT loads."""

import dataclasses
from pathlib import Path

import pytest
import torch
from by_hand import batches_of, train_by_hand
from safetensors.torch import load_file

from hanlm.errors import ConfigError
from pretrain.config import Phase, PretrainConfig, adapter_folder
from pretrain.train import plan, pretrain
from pretrain.trainable.lora_config import LoraConfig

NUM_BASE, STEPS, LR = 300, 12, 1e-2
LORA = LoraConfig(rank=4, alpha=8)
TABLES = ("model.embed_tokens.weight", "lm_head.weight")


def peft_losses(config: PretrainConfig, a_matrices: Path, rows: list[int] | None, cache: Path) -> list[float]:
    """Train with PEFT by hand on the batches of the run, from the A matrices of the run's adapter."""
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model
    from transformers import LlamaForCausalLM

    base = LlamaForCausalLM.from_pretrained(str(config.model), dtype=torch.float32)
    trained = {"embed_tokens": rows, "lm_head": rows} if rows else None
    settings = PeftConfig(
        r=LORA.rank, lora_alpha=8, target_modules=list(LORA.projections), trainable_token_indices=trained
    )
    model = get_peft_model(base, settings)
    begin = {k.replace(".weight", ".default.weight"): v for k, v in load_file(a_matrices).items() if "lora_A" in k}
    assert not model.load_state_dict(begin, strict=False).unexpected_keys
    return train_by_hand(model, batches_of(config, STEPS, cache), steps=STEPS, lr=LR)


def lora_run(settings, name: str = "out", *, rows: str = "none", **changes: object) -> PretrainConfig:
    phase = Phase(trainable="lora", rows=rows, lr=LR, steps=STEPS)  # pyright: ignore[reportArgumentType]
    return settings(name, phases=(phase,), lora=LORA, **changes)


@pytest.mark.parametrize("rows", ["none", "new"])
def test_one_process_trains_as_peft_does(settings, tmp_path, read_losses, rows):
    config = lora_run(settings, rows=rows)
    got = read_losses(pretrain(config))
    untrained = lora_run(settings, "untrained", rows=rows)
    first = dataclasses.replace(untrained, phases=(dataclasses.replace(untrained.phases[0], steps=1, lr=1e-12),))
    pretrain(first)
    new = list(range(NUM_BASE, 320)) if rows == "new" else None
    start = first.out.with_name("untrained.adapter") / "adapter_model.safetensors"
    expected = peft_losses(config, start, new, tmp_path / "index")
    assert max(abs(a - b) for a, b in zip(got.values(), expected, strict=True)) < 1e-4
    assert expected[0] - expected[-1] > 0.05  # it did learn


def logits_of(model: object) -> torch.Tensor:
    ids = torch.tensor([[1, 20, 30, 305, 310, 40, 2]])
    with torch.no_grad():
        return model(ids).logits  # pyright: ignore


@pytest.mark.parametrize("rows", ["none", "new", "all"])
def test_peft_loads_the_adapter_which_merged_is_the_published_model(settings, extended_model, rows):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from hanlm.adapters import adapter_base

    out = pretrain(lora_run(settings, rows=rows))
    adapter = out.with_name("out.adapter")
    assert adapter_base(adapter) == extended_model
    base = AutoModelForCausalLM.from_pretrained(str(extended_model), dtype=torch.float32)
    before = logits_of(base)
    with_adapter = PeftModel.from_pretrained(base, str(adapter))
    merged = AutoModelForCausalLM.from_pretrained(str(out), dtype=torch.float32)
    torch.testing.assert_close(logits_of(with_adapter), logits_of(merged), atol=1e-5, rtol=0)
    assert (logits_of(merged) - before).abs().max() > 1e-2


def test_only_what_a_phase_of_lora_names_is_changed(settings, extended_model, read_weights):
    lora = dataclasses.replace(LORA, targets=("q_proj", "down_proj"))
    phase = Phase(trainable="lora", rows="new", lr=LR, steps=3)
    out = pretrain(settings(phases=(phase,), lora=lora))
    before, after = read_weights(extended_model), read_weights(out)
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    layers = ("self_attn.q_proj", "mlp.down_proj")
    assert changed == {f"model.layers.{i}.{name}.weight" for i in range(2) for name in layers} | set(TABLES)
    for name in TABLES:
        assert torch.equal(before[name][:NUM_BASE], after[name][:NUM_BASE])


def test_flags_alone_train_what_a_phase_of_lora_does(settings, read_losses, read_weights):
    by_phase = pretrain(lora_run(settings, "phase", rows="all"))
    by_flags = pretrain(settings("flags", trainable="lora", rows="all", lora=LORA, lr=LR, steps=STEPS))
    assert read_losses(by_flags) == read_losses(by_phase)
    expected = read_weights(by_phase)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in read_weights(by_flags).items())
    assert by_flags.with_name("flags.adapter").is_dir()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora": LORA}, r"--lora\.\* needs --trainable lora"),
        ({"trainable": "lora", "phases": (Phase(steps=1),)}, "--trainable and --rows are for --steps and --seconds"),
        ({"rows": "all"}, "belongs to `trainable: lora` or new_blocks, got it beside all"),
        ({"trainable": "lora", "lora": {"targets": ("q_proj", "query_key_value")}}, "megatron, got query_key_value"),
        ({"trainable": "lora", "lora": {"targets": ("all-linear", "q_proj")}}, "expects all-linear alone, or names"),
        ({"trainable": "lora", "lora": {"targets": ()}}, "such as q_proj, got none"),
        ({"trainable": "lora", "lora": {"rank": 0}}, "--lora.rank must be at least 1"),
        ({"trainable": "lora", "lora": {"alpha": 0.0}}, "--lora.alpha must be positive"),
    ],
)
def test_flags_of_lora_that_contradict_themselves_are_refused_before_anything_is_written(settings, changes, words):
    def plan_it() -> None:
        lora = changes.get("lora", {})
        lora = lora if isinstance(lora, LoraConfig) else LoraConfig(**lora)
        plan(settings(**changes | {"lora": lora}))

    with pytest.raises(ConfigError, match=words):
        plan_it()


def test_a_run_killed_in_a_phase_of_lora_resumes_to_the_same_weights(settings, kill, read_losses, read_weights):
    whole = pretrain(lora_run(settings, "whole", rows="new", save_every=4))
    config = lora_run(settings, "killed", rows="new", save_every=4)
    kill(config, call=7)
    pretrain(config)
    assert read_losses(config.out) == read_losses(whole)
    first, second = read_weights(whole), read_weights(config.out)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


LAYOUTS = {
    "TP2": {"tensor_parallel": 2},
    "TP2+SP": {"tensor_parallel": 2, "sequence_parallel": True},
    "PP2": {"pipeline_parallel": 2},
    "DP2": {},
    "TP2 bf16": {"tensor_parallel": 2, "precision": "bf16"},
}


@pytest.mark.slow
def test_every_layout_learns_as_one_process_does_and_freezes_the_rest(
    settings, extended_model, read_weights, read_losses, run_all
):
    configs = {name: lora_run(settings, name.replace(" ", "-"), rows="new", **flags) for name, flags in LAYOUTS.items()}
    run_all(list(configs.values()), processes=2)
    base = read_weights(extended_model)
    for name, config in configs.items():
        one = pretrain(lora_run(settings, f"one-{name}", rows="new", precision=config.precision))
        tolerance, weight_tolerance = (2e-4, 2e-3) if config.precision == "fp32" else (2e-2, 5e-2)
        assert list(read_losses(config.out).values()) == pytest.approx(list(read_losses(one).values()), abs=tolerance)
        expected = read_weights(one)
        for weight, tensor in read_weights(config.out).items():
            torch.testing.assert_close(tensor, expected[weight], atol=weight_tolerance, rtol=0, msg=f"{name}: {weight}")
            if "norm" in weight:
                assert torch.equal(tensor, base[weight]), (name, weight)
        for table in TABLES:
            assert torch.equal(read_weights(config.out)[table][:NUM_BASE], base[table][:NUM_BASE]), name


def test_a_run_that_replaces_one_of_lora_leaves_none_of_its_adapter(settings):
    pretrain(lora_run(settings))
    config = settings(steps=1, overwrite=True)
    assert adapter_folder(config.out).is_dir()
    pretrain(config)
    assert not adapter_folder(config.out).exists()
