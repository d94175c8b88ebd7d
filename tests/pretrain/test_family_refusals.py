"""Bases that Megatron-Core does not train here are refused by one sentence, before anything is loaded."""

import json
import shutil

import pytest
import torch
from family_bases import make_base
from safetensors.torch import load_file, save_file

from hanlm.errors import ConfigError, InputError
from pretrain.families import RopeScaling, read_shape
from pretrain.layout import Layout, check_layout
from pretrain.train import plan


@pytest.fixture
def altered(tmp_path, tiny_model_folder):
    """Return a function that copies the tiny base with other options; None takes one out."""

    def alter(**changes):
        folder = tmp_path / "altered"
        shutil.copytree(tiny_model_folder, folder)
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
        return folder

    return alter


ACCELERATE = "train it with `--backend accelerate`, or choose another base"
SENTENCES = {
    "t5": ({"model_type": "t5"}, "is an encoder-decoder .*'t5'.* choose a decoder-only base"),
    "flan-ul2": ({"model_type": "t5", "is_encoder_decoder": True}, "is an encoder-decoder .*'t5'"),
    "marian": ({"model_type": "marian", "is_encoder_decoder": True}, "is an encoder-decoder .*'marian'"),
    "chatglm": (
        {"model_type": "chatglm", "auto_map": {"AutoModel": "modeling_chatglm.ChatGLM"}},
        "whose first model reads a prefix in both directions.* choose a decoder-only base",
    ),
    "bloom": (
        {"model_type": "bloom"},
        f"family 'bloom', which pretraining on Megatron-Core does not know .*{ACCELERATE}",
    ),
    "opt": ({"model_type": "opt"}, f"family 'opt'.*{ACCELERATE}"),
    "gpt_neox": ({"model_type": "gpt_neox"}, f"family 'gpt_neox'.*{ACCELERATE}"),
    "gemma2": ({"model_type": "gemma2"}, f"family 'gemma2'.*{ACCELERATE}"),
    "mixtral": ({"model_type": "mixtral"}, r"is a mixture of experts \(mixtral\).* choose a dense base"),
    "experts": ({"model_type": "qwen3_moe", "num_experts": 128}, r"is a mixture of experts \(qwen3_moe\)"),
    "yarn": (
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
        "rope_type='yarn'; pretraining supports default, linear and llama3: take the scaling out",
    ),
    "dynamic": ({"rope_scaling": {"type": "dynamic", "factor": 4.0}, "rope_parameters": None}, "rope_type='dynamic'"),
    "half a llama3": (
        {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}},
        "should hold low_freq_factor as a positive number, got None",
    ),
    "rope of a wrong type": ({"rope_parameters": [1]}, r"should hold its rotary parameters as an object, got \[1\]"),
    "theta of a wrong type": ({"rope_parameters": {"rope_theta": "big"}}, "should hold rope_theta .* got 'big'"),
    "positions": ({"max_position_embeddings": 0}, "should hold max_position_embeddings as a positive number, got 0"),
    "partial": (
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        f"has partial_rotary_factor=0.5: such a model rotates only a part of each head.*{ACCELERATE}",
    ),
    "activation": ({"hidden_act": "gelu"}, "has hidden_act='gelu'; pretraining supports silu in this family"),
    "quantised": (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        "has quantization_config: such a model holds quantised weights.* pass the folder it was quantised from",
    ),
    "softened": ({"final_logit_softcapping": 30.0}, "final_logit_softcapping=30.0: such a model softens the logits"),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_a_base_that_does_not_fit_is_refused_by_the_plan_in_one_sentence(settings, altered, case):
    changes, words = SENTENCES[case]
    with pytest.raises(InputError, match=words) as refusal:
        plan(settings(model=altered(**changes)))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(".")


def test_sequences_beyond_a_sliding_window_are_refused_and_up_to_it_are_not(settings, altered):
    model = altered(model_type="mistral", sliding_window=32)
    assert plan(settings(model=model, seq_length=32))
    with pytest.raises(ConfigError, match=r"--seq-length 33 is beyond the 32 tokens of the model's sliding window"):
        plan(settings(model=model, seq_length=33))


@pytest.mark.parametrize(
    ("family", "options", "window"),
    [
        ("mistral", {}, 4096),
        ("mistral", {"sliding_window": 7}, 7),
        ("llama", {"sliding_window": 7}, None),
        ("qwen2", {"sliding_window": 7}, None),
        ("qwen2", {"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 2}, None),
        ("qwen2", {"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 1}, 7),
        ("qwen3", {"sliding_window": 7, "use_sliding_window": True, "layer_types": ["full_attention"] * 2}, None),
    ],
)
def test_the_window_is_the_one_that_transformers_would_use(altered, family, options, window):
    assert read_shape(altered(model_type=family, **options)).window == window


def test_a_missing_window_key_of_null_means_none(altered):
    folder = altered(model_type="mistral")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": None}))
    shape = read_shape(folder)
    assert shape.window is None
    check_layout(shape, Layout(), seq_length=256)


def test_a_tensor_that_the_family_does_not_know_is_refused_before_training(settings, altered):
    folder = altered()
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.self_attn.q_proj.bias"] = torch.zeros(32)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"holds 1 tensors that a llama model.* such as .*q_proj\.bias; .* lose them"):
        plan(settings(model=folder))


def test_weights_in_eight_bits_are_refused(settings, altered):
    folder = altered()
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    weights[name] = weights[name].to(torch.float8_e4m3fn)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(
        InputError, match=r"up_proj\.weight as F8_E4M3; pretraining expects F32, F16, BF16: pass the folder"
    ):
        plan(settings(model=folder))


def test_both_spellings_of_rope_scaling_are_read(altered):
    """transformers 4 wrote ``rope_scaling`` and a theta beside it, transformers 5 ``rope_parameters``."""
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    old = altered(rope_theta=5e5, rope_scaling={"rope_type": "llama3", **llama3}, rope_parameters=None)
    shape = read_shape(old)
    assert (shape.rope_theta, shape.rope_scaling) == (5e5, RopeScaling(kind="llama3", factor=8.0))
    config = json.loads((old / "config.json").read_text())
    config |= {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **llama3}}
    del config["rope_scaling"], config["rope_theta"]
    (old / "config.json").write_text(json.dumps(config))
    assert read_shape(old) == shape


def test_a_shape_has_the_defaults_of_transformers_where_the_file_says_nothing(tmp_path):
    """transformers may leave out of ``config.json`` what is its own default."""
    from transformers import AutoConfig

    for family in ("llama", "mistral", "qwen2", "qwen3", "gemma"):
        folder = tmp_path / family
        folder.mkdir()
        (folder / "config.json").write_text(
            json.dumps(
                {
                    "model_type": family,
                    **{"hidden_size": 4096, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 99},
                    "num_attention_heads": 32,
                }
            )
        )
        shape, config = read_shape(folder), AutoConfig.from_pretrained(str(folder))
        assert shape.num_kv_heads == config.num_key_value_heads
        assert shape.head_size == (getattr(config, "head_dim", None) or 128)
        assert shape.max_positions == config.max_position_embeddings
        assert shape.norm_eps == config.rms_norm_eps
        assert shape.rope_theta == config.rope_parameters["rope_theta"]
        assert shape.is_tied == config.tie_word_embeddings
        assert shape.activation == {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh"}[config.hidden_act]
        assert shape.window == getattr(config, "sliding_window", None)


def test_frequencies_equal_those_of_transformers(tmp_path):
    """Of real LLaMA 3.1 and 3.2, of linear scaling, and of none."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    from pretrain.megatron.model import _frequencies

    llama31 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    kinds = [
        {"rope_type": "llama3", "rope_theta": 5e5, **llama31},
        {"rope_type": "llama3", "rope_theta": 5e5, **llama31, "factor": 32.0},
        {"rope_type": "llama3", "rope_theta": 1e4, **llama31, "low_freq_factor": 2.0, "high_freq_factor": 8.0},
        {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0},
        {"rope_type": "default", "rope_theta": 5e6},
    ]
    found = []
    for i, rope in enumerate(kinds):
        config = make_base(tmp_path / str(i), "llama1", rope_parameters=rope, head_dim=128).config
        expected = LlamaRotaryEmbedding(config).inv_freq
        torch.testing.assert_close(_frequencies(read_shape(tmp_path / str(i))), expected, rtol=1e-6, atol=0)
        found.append(tuple(expected.tolist()))
    assert len(set(found)) == len(kinds)
