"""Weights survive Hugging Face -> Megatron -> Hugging Face bit by bit."""

import shutil

import pytest
import torch

from hanlm.errors import InputError
from pretrain.families import Cut, ModelShape
from pretrain.weights.base_weights import HuggingFaceWeights
from pretrain.weights.convert import cut, fuse, split

SHAPE = ModelShape(
    family="llama",
    num_layers=2,
    hidden_size=16,
    ffn_size=24,
    num_heads=8,
    num_kv_heads=4,
    head_size=2,
    vocab_size=33,
    max_positions=64,
    norm_eps=1e-6,
    rope_theta=10_000.0,
    is_tied=False,
)
SIZES = {
    "embed": (33, 16),
    "lm_head": (33, 16),
    "q_proj": (16, 16),
    "k_proj": (8, 16),
    "v_proj": (8, 16),
    "o_proj": (16, 16),
    "gate": (24, 16),
    "up_proj": (24, 16),
    "down": (16, 24),
    "norm": (16,),
}


def parts_of(weight):
    def size(source: str) -> tuple[int, ...]:
        return next(s for name, s in SIZES.items() if name in source)

    return [torch.randn(size(source)) for source in weight.sources]


@pytest.mark.parametrize("weight", SHAPE.weights, ids=lambda w: w.megatron)
@pytest.mark.parametrize("tensor", [1, 2, 4])
def test_every_weight_comes_back_from_the_parts_of_its_ranks(weight, tensor):
    parts = parts_of(weight)
    rows = -(-33 // tensor) * tensor
    whole = fuse(weight, parts, SHAPE, vocab_rows=rows)
    cuts = [cut(weight, whole, rank=rank, size=tensor) for rank in range(tensor)]
    if weight.cut is Cut.NONE:
        joined = cuts[0]
    elif weight.cut is Cut.HALVES:
        halves = zip(*(c.chunk(2) for c in cuts), strict=True)
        joined = torch.cat([torch.cat(half) for half in halves])
    else:
        joined = torch.cat(cuts, dim=0 if weight.cut is Cut.ROWS else 1)
    back = split(weight, joined, SHAPE)
    assert all(torch.equal(a, b) for a, b in zip(parts, back, strict=True))


def test_the_fused_attention_holds_each_groups_queries_then_its_key_and_value():
    weight = next(w for w in SHAPE.weights if "linear_qkv.weight" in w.megatron)
    query, key, value = parts_of(weight)
    whole = fuse(weight, [query, key, value], SHAPE, vocab_rows=33)
    assert torch.equal(whole[:8], torch.cat([query[:4], key[:2], value[:2]]))


def _model_with(folder, source, **changes):
    import json

    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": None}, "should hold num_hidden_layers as a positive number, got None"),
        ({"hidden_size": "32"}, "should hold hidden_size as a positive number, got '32'"),
        ({"num_hidden_layers": 3}, r"lacks the tensor model\.layers\.2\.input_layernorm\.weight"),
        (
            {"tie_word_embeddings": False, "vocab_size": 321},
            r"embed_tokens\.weight of shape \[321, 32\].* got \[320, 32\]",
        ),
        ({"num_key_value_heads": 1}, r"k_proj\.weight of shape \[8, 32\] after config\.json, got \[16, 32\]"),
    ],
)
def test_a_folder_whose_weights_are_not_what_its_configuration_says_is_refused_before_training(
    settings, tmp_path, tiny_model_folder, changes, words
):
    from pretrain.train import plan

    with pytest.raises(InputError, match=words):
        plan(settings(model=_model_with(tmp_path / "m", tiny_model_folder, **changes)))


def test_a_truncated_model_file_is_refused(settings, tmp_path, tiny_model_folder):
    from pretrain.train import plan

    model = _model_with(tmp_path / "m", tiny_model_folder)
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        plan(settings(model=model))


def test_a_vocabulary_report_that_says_nothing_is_refused(settings, tmp_path, tiny_model_folder):
    from pretrain.train import plan

    model = _model_with(tmp_path / "m", tiny_model_folder)
    (model / "vocab_report.json").write_text("{}")
    with pytest.raises(InputError, match=r"vocab_report\.json"):
        plan(settings(model=model))


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_folder_with_python_of_its_own_is_refused(settings, tmp_path, tiny_model_folder, name):
    import json

    from pretrain.train import plan

    model = _model_with(tmp_path / "m", tiny_model_folder)
    content = json.loads((model / name).read_text())
    (model / name).write_text(json.dumps(content | {"auto_map": {"AutoModel": "code.Model"}}))
    with pytest.raises(InputError, match="auto_map"):
        plan(settings(model=model))


@pytest.mark.parametrize(("tied", "precision"), [(False, "fp32"), (True, "bf16")])
def test_a_model_published_without_a_change_is_bit_equal(settings, tmp_path, tiny_model_folder, tied, precision):
    """All of it: read, cut, checkpointed, read back, split, written; a rate that is 0 in fp32 changes no weight."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from pretrain.train import pretrain

    base = tmp_path / "base"
    shutil.copytree(tiny_model_folder, base)
    config = LlamaConfig.from_pretrained(str(base))
    config.tie_word_embeddings = tied
    LlamaForCausalLM(config).save_pretrained(str(base))

    out = pretrain(settings(model=base, steps=1, lr=1e-60, weight_decay=0.0, precision=precision))
    before, after = HuggingFaceWeights(base), HuggingFaceWeights(out)
    assert sorted(before.names) == sorted(after.names)
    assert ("lm_head.weight" in before.names) != tied
    for name in before.names:
        assert before(name).dtype == after(name).dtype
        assert torch.equal(before(name), after(name)), name
