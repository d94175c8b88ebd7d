"""Model folders: what is unsafe, cut or incomplete is refused in one sentence, before anything runs."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlm.errors import ArtifactError, InputError
from hanlm.model_folder import check_model_folder, num_base_tokens
from hanlm.models import load_model
from hanlm.publish import publish
from hanlm.tokenizing import load_tokenizer

type Weights = dict[str, torch.Tensor]


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


def change_weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def change_json(file: Path, **changes: Any) -> None:
    value = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(value | changes), encoding="utf-8")


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {key: value for key, value in weights.items() if key != name}


def cut(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: weights | {name: weights[name][:-1].clone()}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (without("lm_head.weight"), "lacks 1 weights .* such as lm_head.weight"),
        (without("model.layers.1.mlp.up_proj.weight"), "lacks 1 weights .* such as model.layers.1.mlp.up_proj.weight"),
        (cut("model.norm.weight"), r"expected model.norm.weight of shape \[32\] .* got \[31\]"),
    ],
)
def test_weights_are_never_made_up(folder: Path, change: Callable[[Weights], Weights], word: str):
    change_weights(folder, change)
    with pytest.raises(InputError, match=word):
        load_model(folder)


def test_a_tied_output_needs_no_weight_of_its_own(folder: Path):
    change_weights(folder, without("lm_head.weight"))
    change_json(folder / "config.json", tie_word_embeddings=True)
    model = load_model(folder)
    assert torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)  # pyright: ignore


def test_a_cut_shard_and_a_missing_one_are_named(folder: Path):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(InputError, match=r"model\.safetensors is truncated or damaged"):
        check_model_folder(folder)
    file.write_bytes(whole)
    change_json(folder / "model.safetensors.index.json", weight_map={"lm_head.weight": "model-2.safetensors"})
    with pytest.raises(InputError, match=r"model-2\.safetensors is missing, though"):
        check_model_folder(folder)


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_python_that_a_folder_brings_never_runs_and_nobody_is_asked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    witness = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(witness)!r}, 'w').write('x')\nclass Evil: pass\n")
    classes = {"AutoTokenizer": ["evil.Evil", None]} if name.startswith("tok") else {"AutoConfig": "evil.Evil"}
    change_json(folder / name, auto_map=classes)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    for load in (check_model_folder, load_model, *([load_tokenizer] if name.startswith("tok") else [])):
        with pytest.raises(InputError, match=rf"{name} asks to run Python of its own"):
            load(folder)
    assert not witness.exists()


@pytest.mark.parametrize("changes", [{"num_attention_heads": "many"}, {"model_type": "no-such-family"}])
def test_a_configuration_that_transformers_refuses_is_a_sentence(folder: Path, changes: dict[str, Any]):
    change_json(folder / "config.json", **changes)
    with pytest.raises(InputError, match="not a causal language model"):
        load_model(folder)


def test_a_model_that_is_not_causal_is_refused_without_the_list_of_all_that_are(folder: Path):
    change_json(folder / "config.json", model_type="vit")
    with pytest.raises(InputError, match="not a causal language model") as refusal:
        load_model(folder)
    assert len(str(refusal.value)) < 400 + len(str(folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab_report.json"])
@pytest.mark.parametrize("text", ["[]", "{", "{}"])
def test_malformed_files_of_a_folder_are_named(folder: Path, name: str, text: str):
    (folder / name).write_text(text)
    read: dict[str, Callable[[Path], Any]] = {
        "config.json": load_model,
        "tokenizer.json": load_tokenizer,
        "vocab_report.json": num_base_tokens,
    }
    with pytest.raises(InputError, match=name.partition("_")[0] if text == "[" else "model"):
        read[name](folder)


@pytest.mark.fault(6)
def test_a_published_model_with_a_flipped_bit_is_refused_wherever_a_model_is_read(folder: Path, tmp_path: Path):
    with publish(tmp_path / "out", kind="model", config={}) as draft:
        shutil.copytree(folder, draft.folder, dirs_exist_ok=True)
    load_model(tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-100] ^= 1
    file.write_bytes(damaged)
    os.utime(tmp_path / "out" / "manifest.json")  # a process checks an artifact once
    with pytest.raises(ArtifactError, match=r"model\.safetensors fails its checksum"):
        check_model_folder(tmp_path / "out")


def test_the_folder_that_was_meant_is_named(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match=rf"did you mean {folder}\?"):
        check_model_folder(tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match="a tokenizer alone"):
        check_model_folder(folder)
