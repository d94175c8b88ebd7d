"""Adapters: merged to what PEFT computes, refused on another tokenizer, other weights, or as a pickle."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hanlm.adapters import adapter_base, is_adapter, load_merged
from hanlm.errors import ArtifactError, InputError
from hanlm.publish import publish


@pytest.fixture(scope="module")
def adapter_folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter with random weights on the tiny base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapter") / "lora"
    base: Any = AutoModelForCausalLM.from_pretrained(str(tiny_model_folder))
    model: Any = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_()
    model.save_pretrained(str(folder))
    return folder


def test_merged_adapter_computes_what_peft_computes(adapter_folder: Path, tiny_model_folder: Path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.arange(3, 40)[None]
    base: Any = AutoModelForCausalLM.from_pretrained(str(tiny_model_folder)).eval()
    with torch.no_grad():
        plain = base(ids).logits
        expected = PeftModel.from_pretrained(base, str(adapter_folder)).eval()(ids).logits
        merged: Any = load_merged(adapter_folder, adapter_base(adapter_folder))
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-3)


def test_folders_are_told_apart(adapter_folder: Path, tiny_model_folder: Path):
    assert is_adapter(adapter_folder)
    assert not is_adapter(tiny_model_folder)


@pytest.mark.fault(20)
def test_an_adapter_with_another_tokenizer_is_refused_with_what_mends_it(
    adapter_folder: Path, tiny_model_folder: Path, tmp_path: Path
):
    other = tmp_path / "adapter"
    shutil.copytree(adapter_folder, other)
    parts = json.loads((tiny_model_folder / "tokenizer.json").read_text(encoding="utf-8"))
    parts["normalizer"] = None
    (other / "tokenizer.json").write_text(json.dumps(parts), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"tokenizer of adapter .* is not the tokenizer of base .* hanlm sft"):
        adapter_base(other)


@pytest.mark.fault(20)
def test_an_adapter_artifact_is_refused_on_another_vocabulary_or_other_weights(
    adapter_folder: Path, tiny_model_folder: Path, tmp_path: Path
):
    def published(name: str, tokenizer_hash: str | None, trained_on: Path) -> Path:
        out = tmp_path / name
        with publish(
            out, kind="adapter", config={}, inputs={"model": trained_on}, tokenizer_hash=tokenizer_hash
        ) as draft:
            shutil.copytree(adapter_folder, draft.folder, dirs_exist_ok=True)
        return out

    assert adapter_base(published("fitting", None, tiny_model_folder)) == tiny_model_folder
    with pytest.raises(ArtifactError, match="is not the tokenizer of base"):
        adapter_base(published("vocabulary", "0" * 64, tiny_model_folder))
    retrained = tmp_path / "retrained"
    shutil.copytree(tiny_model_folder, retrained)
    (retrained / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match="trained on other weights"):
        adapter_base(published("weights", None, retrained), tiny_model_folder)


@pytest.mark.fault(22)
def test_a_pickled_adapter_is_refused(adapter_folder: Path, tmp_path: Path):
    folder = tmp_path / "pickled"
    shutil.copytree(adapter_folder, folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(InputError, match="never loaded"):
        adapter_base(folder)


def test_a_missing_base_is_named(adapter_folder: Path, tmp_path: Path):
    folder = tmp_path / "lost"
    shutil.copytree(adapter_folder, folder)
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "org/lost"}))
    with pytest.raises(InputError, match="'org/lost', which is not here"):
        adapter_base(folder)
