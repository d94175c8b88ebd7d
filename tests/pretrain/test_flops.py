"""One count of operations, for plans and for runs: what torch counts, for whatever is trained."""

import dataclasses
import json

import memory_peaks
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from pretrain.config import Phase
from pretrain.families import read_shape
from pretrain.flops import token_flops
from pretrain.train import pretrain
from pretrain.trainable.lora_config import LoraConfig
from pretrain.trainable.trained import Trained, trained_by, trained_in_run

LENGTH, LORA = 64, LoraConfig(rank=4)
LLAMA_7B = {"num_layers": 32, "hidden_size": 4096, "ffn_size": 11008, "num_heads": 32, "num_kv_heads": 32}
TABLES = ("embed_tokens", "lm_head")


def counted(folder, is_trained, *, lora: LoraConfig | None = None) -> float:
    """Return what torch counts for a token; its own attention is whole, not half."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    if lora is not None:
        from peft import LoraConfig as PeftConfig
        from peft import get_peft_model

        get_peft_model(model, PeftConfig(r=lora.rank, target_modules=list(lora.projections)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(name))
    ids = torch.randint(3, 200, (2, LENGTH))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    return counter.get_total_flops() / ids.numel()


def planned(folder, phase: Phase, **given) -> int:
    shape = read_shape(folder)
    return token_flops(shape, LENGTH, trained_by(phase, shape, num_old=0, **given)).training


def test_all_weights_embeddings_and_upper_layers_take_what_torch_counts(extended_model):
    everything = planned(extended_model, Phase(steps=1))
    assert everything == pytest.approx(counted(extended_model, lambda _: True), rel=0.005)
    tables = planned(extended_model, Phase(trainable="embeddings", steps=1))
    assert tables == pytest.approx(
        counted(extended_model, lambda name: any(table in name for table in TABLES)), rel=0.005
    )
    upper = planned(extended_model, Phase(trainable="new_blocks", rows="none", steps=1), blocks=(1,))
    assert upper == pytest.approx(counted(extended_model, lambda name: ".layers.1." in name), rel=0.005)
    assert upper < tables < everything


@pytest.mark.parametrize(("targets", "part"), [(("all-linear",), 0.05), (("q_proj", "down_proj"), 0.1)])
def test_lora_takes_what_torch_counts(extended_model, targets, part):
    """Before the first update nothing wants a gradient where no rows train: that part of a layer of two counts here."""
    lora = dataclasses.replace(LORA, targets=targets)
    for rows, trains_tables, tolerance in (("all", True, 0.005), ("none", False, part)):
        phase = Phase(trainable="lora", rows=rows, steps=1)
        expected = counted(
            extended_model,
            lambda name, tables=trains_tables: "lora_" in name or (tables and any(t in name for t in TABLES)),
            lora=lora,
        )
        assert planned(extended_model, phase, lora=lora) == pytest.approx(expected, rel=tolerance)


def test_llama_7b_takes_six_operations_a_weight_and_twelve_in_attention_as_mfu_was_defined():
    shape = memory_peaks.make_shape(**LLAMA_7B, head_size=128, vocab_size=32000)
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096
    flops = token_flops(shape, 2048)
    assert flops.training == 6 * weights + 12 * 32 * 4096 * 2048
    assert flops.executed(recomputes=False) == 6 * weights + 6 * 32 * 4096 * 2048
    assert flops.executed(recomputes=True) == 8 * weights + 8 * 32 * 4096 * 2048
    frozen = token_flops(shape, 2048, Trained(layers=(), num_rows=100, rows="new", final_norm=False))
    assert frozen.training == 4 * weights + 2 * 100 * 4096 + 12 * 32 * 4096 * 2048


def test_a_run_reports_the_operations_of_each_of_its_phases(settings, extended_model):
    phases = (
        Phase(trainable="new_rows", steps=1),
        Phase(trainable="lora", rows="none", steps=1),
        Phase(steps=1),
    )
    config = settings(phases=phases, lora=LORA)
    out = pretrain(config)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = [row["tflops"] * 1e12 / row["tokens_per_second"] for row in rows]
    shape = read_shape(extended_model)
    expected = [token_flops(shape, 32, trained).training for trained in trained_in_run(config, shape)]
    assert found == pytest.approx(expected, rel=1e-9)
    assert expected[0] < expected[1] < expected[2]
