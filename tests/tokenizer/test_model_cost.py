"""What a token costs a model: equal to what torch counts, and to the weights that transformers builds."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from hanlm.errors import InputError
from tokenizer.cost import LLAMA_2_7B, TRAINING_PASSES, ModelShape, advised_shape, shape_of
from tokenizer.families import read_base

SIZES = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
GATED = {**SIZES, "intermediate_size": 80}
FAMILIES = {
    "llama": {**GATED, "num_key_value_heads": 2},
    "mistral": {**GATED, "num_key_value_heads": 1, "head_dim": 16},
    "qwen2": {**GATED, "num_key_value_heads": 4, "tie_word_embeddings": True},
    "gemma": {**GATED, "num_key_value_heads": 1, "head_dim": 8},
    "gpt_neo": {
        "vocab_size": 96,
        "hidden_size": 32,
        "num_layers": 3,
        "num_heads": 4,
        "attention_types": [[["global"], 3]],
    },
    "gpt_neox": {**SIZES, "intermediate_size": 128},
    "gptj": {"vocab_size": 96, "n_embd": 32, "n_layer": 3, "n_head": 4, "rotary_dim": 8},
    "codegen": {"vocab_size": 96, "n_embd": 32, "n_layer": 3, "n_head": 4, "rotary_dim": 8},
    "starcoder2": {**GATED, "num_key_value_heads": 2},
    "phi": {**SIZES, "intermediate_size": 128},
    "opt": {**SIZES, "ffn_dim": 96, "word_embed_proj_dim": 32},
    "gpt2": {"vocab_size": 96, "n_embd": 32, "n_layer": 3, "n_head": 4},
    "bloom": {"vocab_size": 96, "hidden_size": 32, "n_layer": 3, "n_head": 4},
    "bloom, as published": {"vocab_size": 96, "n_embed": 32, "n_layer": 3, "num_attention_heads": 4},
    "falcon": {**SIZES, "num_kv_heads": 4},
    "falcon, many queries": {**SIZES, "multi_query": False, "ffn_hidden_size": 96},
    "falcon, new decoder": {**SIZES, "num_kv_heads": 2, "new_decoder_architecture": True},
    "gpt_bigcode": {"vocab_size": 96, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 80},
    "gpt_bigcode, many queries": {"vocab_size": 96, "n_embd": 32, "n_layer": 3, "n_head": 4, "multi_query": False},
    "mpt": {"vocab_size": 96, "d_model": 32, "n_layers": 3, "n_heads": 4},
    "nemotron": {**GATED, "num_key_value_heads": 2},
}
EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in", "lm_head", "embed_out", "wpe", "embed_positions")


def build(family: str, **changes: object) -> tuple[torch.nn.Module, ModelShape]:
    model_type = family.split(",", maxsplit=1)[0]
    config = AutoConfig.for_model(model_type, **(FAMILIES[family] | changes))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    # What a checkpoint's config.json holds, which leaves some defaults of the family out.
    return model, shape_of({"model_type": model_type, **FAMILIES[family], **changes}, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_of_the_layers_are_those_that_transformers_builds(family):
    model, shape = build(family)
    matrices = {name: p.numel() for name, p in model.named_parameters() if p.dim() == 2}
    body = sum(size for name, size in matrices.items() if not any(e in name for e in EMBEDDINGS))
    assert shape.num_body_params == body > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_counted_once_where_embedding_and_output_are_tied(family):
    model, shape = build(family)
    output = model.get_output_embeddings().weight
    tied = output.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert shape.tied == tied
    assert shape.num_row_params(shape.num_rows) == output.numel() * (1 if tied else 2)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "gpt2", "opt", "nemotron"])
@pytest.mark.parametrize("num_tokens", [1, 7, 24])
def test_forward_and_training_operations_are_those_that_torch_counts(family, num_tokens):
    model, shape = build(family)
    ids = torch.arange(num_tokens).reshape(1, -1)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(ids)
    with FlopCounterMode(display=False) as training:
        model(ids, labels=ids).loss.backward()
    # Without a kernel that skips masked positions every token attends to all of them.
    assert forward.get_total_flops() == num_tokens * shape.forward_flops(shape.num_rows, num_tokens)
    assert training.get_total_flops() == TRAINING_PASSES * forward.get_total_flops()
    assert shape.training_flops(96, 5) == TRAINING_PASSES * shape.forward_flops(96, 5)


@pytest.mark.parametrize("tied", [True, False])
def test_a_decoded_token_reads_every_weight_once_and_one_row_of_the_embedding(tied):
    model, shape = build("llama", tie_word_embeddings=tied)
    weights = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    embedding = 0 if tied else model.get_input_embeddings().weight.numel()
    read = weights - embedding + shape.hidden_size
    assert shape.decoded_bytes(shape.num_rows, 0) == shape.item_bytes * read
    cache = model(torch.arange(9).reshape(1, -1), use_cache=True).past_key_values
    cached = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert shape.decoded_bytes(96, 9) - shape.decoded_bytes(96, 0) == shape.item_bytes * cached


def test_llama_2_7b_has_the_published_number_of_weights():
    norms = (2 * LLAMA_2_7B.num_layers + 1) * LLAMA_2_7B.hidden_size
    assert LLAMA_2_7B.num_body_params + LLAMA_2_7B.num_row_params(LLAMA_2_7B.num_rows) + norms == 6_738_415_616


def test_experts_count_as_many_times_as_a_token_visits_them():
    config = {"model_type": "mixtral", **FAMILIES["llama"]}
    dense = shape_of(config, "dense")
    assert shape_of({**config, "num_local_experts": 8, "num_experts_per_tok": 2}, "m").intermediate_size == 160
    assert shape_of({**config, "num_local_experts": 8, "num_experts_per_tok": 1}, "m").num_body_params == (
        dense.num_body_params
    )


@pytest.mark.parametrize(
    ("family", "shared"),
    [("qwen2_moe", {"shared_expert_intermediate_size": 40}), ("glm4_moe", {"n_shared_experts": 2})],
)
def test_experts_that_every_token_visits_count_too(family, shared):
    sizes = {**FAMILIES["llama"], "head_dim": 8, "moe_intermediate_size": 24, "num_experts_per_tok": 2, **shared}
    more = {"num_experts": 4, "n_routed_experts": 4, "first_k_dense_replace": 0}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes, **more))
    always = sum(p.numel() for name, p in model.named_parameters() if ".shared_expert" in name and p.shape[0] > 1)
    shape = shape_of({"model_type": family, **sizes}, family)
    without = shape_of({"model_type": family, **sizes} | dict.fromkeys(shared, 0), family)
    assert shape.num_body_params - without.num_body_params == always > 0


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.floats(0, 1e5), st.floats(1, 1e5))
def test_costs_grow_with_rows_and_with_context(num_rows, more_rows, context, more_context):
    for cost in (LLAMA_2_7B.forward_flops, LLAMA_2_7B.training_flops, LLAMA_2_7B.decoded_bytes):
        assert 0 < cost(num_rows, context) < cost(num_rows + more_rows, context)
        assert cost(num_rows, context) < cost(num_rows, context + more_context)
    tied = replace(LLAMA_2_7B, tied=True)
    assert 2 * tied.num_row_params(num_rows) == LLAMA_2_7B.num_row_params(num_rows)


def test_precision_decides_the_bytes():
    sizes = [shape_of({**FAMILIES["llama"], **named}, "x").item_bytes for named in ({}, {"torch_dtype": "float32"})]
    assert sizes == [2, 4]


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_configuration_that_does_not_tell_is_refused_by_name(name):
    config = {key: value for key, value in FAMILIES["llama"].items() if key != name}
    with pytest.raises(InputError, match=rf"{name}.*--advise-for"):
        shape_of(config, "base")


def test_the_shape_given_comes_first_then_the_bases_own_then_the_reference(tiny_model_folder, tmp_path):
    model, bare = read_base(tiny_model_folder), read_base(tiny_model_folder / "tokenizer.model")
    (tmp_path / "config.json").write_text(json.dumps(FAMILIES["llama"]))
    assert advised_shape(model, tmp_path).num_layers == advised_shape(bare, tmp_path / "config.json").num_layers == 3
    assert advised_shape(model, None).num_layers == 2
    assert advised_shape(bare, None) == replace(LLAMA_2_7B, num_rows=bare.num_tokens)
    with pytest.raises(InputError, match="--advise-for"):
        advised_shape(bare, tmp_path / "none.json")
