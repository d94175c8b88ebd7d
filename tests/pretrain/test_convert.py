"""Weights survive Hugging Face -> Megatron -> Hugging Face bit by bit."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from hanlm.errors import InputError
from pretrain.convert import HuggingFaceWeights, cut, fuse, split
from pretrain.families import Cut, ModelShape, read_shape

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
        ({"model_type": "bloom"}, "family 'bloom'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}}, "rope_type='llama3'"),
        ({"hidden_act": "gelu"}, "hidden_act"),
    ],
)
def test_a_base_that_the_map_does_not_cover_is_refused(tmp_path, tiny_model_folder, changes, words):
    with pytest.raises(InputError, match=words):
        read_shape(_model_with(tmp_path / "m", tiny_model_folder, **changes))


def test_a_missing_tensor_is_named(tmp_path):
    save_file({"model.norm.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"lacks the tensor lm_head\.weight"):
        HuggingFaceWeights(tmp_path)("lm_head.weight")


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
