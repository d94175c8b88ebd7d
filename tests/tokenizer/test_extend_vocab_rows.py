"""New rows of the embedding and output matrices: their parents, every dtype, tied, sharded, padded."""

import json

import numpy as np
import pytest
import torch
from extending import extended, report_of, tensors
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hanlm.models import load_model
from tokenizer.families import read_base
from tokenizer.merging import last_parts
from tokenizer.safetensor_files import MoreRows, StoredRows, with_rows


def test_the_last_merge_gives_the_parents():
    scores = {"甲": -1.0, "乙": -2.0, "丙": -3.0, "甲乙": -5.0, "乙丙": -4.0, "甲乙丙": -6.0}
    assert last_parts("甲乙丙", scores) == ["甲", "乙丙"]
    assert last_parts("甲乙", scores) == ["甲", "乙"]


def test_rows_are_means_of_their_parents_down_to_the_base(tiny_model_folder, extended_folder):
    base, new = read_base(tiny_model_folder), read_base(extended_folder)
    parents = new.forms().merge_parents(base.num_tokens)
    rows = tensors(extended_folder)["model.embed_tokens.weight"].numpy()
    compound = [(i, ids) for i, ids in enumerate(parents, base.num_tokens) if len(ids) == 2]
    assert len(compound) > 30
    for i, ids in compound:
        np.testing.assert_allclose(rows[i], rows[ids].mean(axis=0), atol=1e-6)
    old = tensors(tiny_model_folder)["model.embed_tokens.weight"].numpy()
    np.testing.assert_array_equal(rows[: base.num_tokens], old)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_rows_are_read_and_written_in_every_dtype(tmp_path, dtype):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    tensors = {"x": torch.randn(5, 4).to(dtype), "other": torch.arange(7), "y": torch.randn(3).to(dtype)}
    save_file(tensors, source, metadata={"format": "pt"})
    np.testing.assert_array_equal(StoredRows(source, "x")[:], tensors["x"].float().numpy())
    new = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    kept = [0, 1, 4, 2]
    with_rows(source, target, kept, {"x": MoreRows(3, [new[:2], new[2:]])})
    got = load_file(target)
    assert torch.equal(got["x"], torch.cat([tensors["x"][kept], torch.from_numpy(new).to(dtype)]))
    assert torch.equal(got["other"], tensors["other"])
    assert torch.equal(got["y"], tensors["y"])


def test_a_tied_model_stays_tied(model_copy, text_file, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(model_copy)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    (model_copy / "model.safetensors").unlink()
    model.save_pretrained(model_copy)
    out = extended(model_copy, text_file, tmp_path / "out")
    assert "lm_head.weight" not in tensors(out)
    loaded = load_model(out)
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert loaded.get_input_embeddings().weight.shape[0] == len(AutoTokenizer.from_pretrained(out))


def test_a_sharded_bf16_model_stays_sharded_and_bf16(model_copy, text_file, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(model_copy, dtype=torch.bfloat16)
    (model_copy / "model.safetensors").unlink()
    model.save_pretrained(model_copy, max_shard_size="40KB")
    shards = sorted(p.name for p in model_copy.glob("*.safetensors"))
    assert len(shards) > 1
    out = extended(model_copy, text_file, tmp_path / "out")
    assert sorted(p.name for p in out.glob("*.safetensors")) == shards
    index = json.loads((out / "model.safetensors.index.json").read_text())
    stored = tensors(out)
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in stored.values())
    assert {t.dtype for t in stored.values()} == {torch.bfloat16}
    for name, old in tensors(model_copy).items():
        assert torch.equal(stored[name][: len(old)], old)
    assert load_model(out).dtype == torch.bfloat16


def test_padding_rows_belong_to_no_token_and_take_next_to_no_probability(tiny_model_folder, text_file, tmp_path):
    out = extended(tiny_model_folder, text_file, tmp_path / "out", pad_to_multiple=512)
    tokenizer = AutoTokenizer.from_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    assert config["vocab_size"] == 512 > len(tokenizer)
    model = load_model(out)
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode("The river 他打开信")])).logits[0].float()
    share = logits.softmax(-1)[:, len(tokenizer) :].sum(-1)
    assert share.max() < 1.1 * (512 - len(tokenizer)) / 512


def test_added_tokens_of_the_base_keep_their_ids_and_new_tokens_follow(model_copy, text_file, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(model_copy)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|end|>"]})
    model = AutoModelForCausalLM.from_pretrained(model_copy)
    model.resize_token_embeddings(len(tokenizer))
    files = {name: (model_copy / name).read_bytes() for name in ("tokenizer.model",)}
    model.save_pretrained(model_copy)
    tokenizer.save_pretrained(model_copy)
    (model_copy / "tokenizer.model").write_bytes(files["tokenizer.model"])
    out = extended(model_copy, text_file, tmp_path / "out")
    new = AutoTokenizer.from_pretrained(out)
    for token in ("<|user|>", "<|end|>"):
        assert new.convert_tokens_to_ids(token) == tokenizer.convert_tokens_to_ids(token)
        assert new.encode(f"a{token}b", add_special_tokens=False).count(new.convert_tokens_to_ids(token)) == 1
    report = report_of(out)
    assert report["num_base_tokens"] == len(tokenizer)
    assert len(new) == len(tokenizer) + report["num_new_tokens"]
    rows, old = tensors(out)["model.embed_tokens.weight"], tensors(model_copy)["model.embed_tokens.weight"]
    assert torch.equal(rows[: len(old)], old)
