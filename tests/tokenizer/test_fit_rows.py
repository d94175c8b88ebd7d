"""New rows fitted to text with the model loaded: what changes, what must not, and that it pays."""

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

import extending
import numpy as np
import pytest
import torch
from extending import tensors
from transformers import AutoModelForCausalLM

from hanlm.bits import IGNORE, token_nll
from hanlm.errors import InputError
from hanlm.models import load_model
from hanlm.tokenizing import document_ids, load_tokenizer
from tokenizer.calibrate import calibrate, pad_right
from tokenizer.distill import loss, spell
from tokenizer.extend import FITTED, ExtendConfig
from tokenizer.families import read_base
from tokenizer.fit_rows import ROW_TOKENS, cut

extended = partial(extending.extended, num_new_tokens=200)
ENGLISH = ["The river runs past the old mill and the children walk to school.", "Numbers such as 3 and 14 stand there."]
DEMO_BASE = Path(__file__).parents[2] / "recipes" / "demo" / "base"


def some_texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()[:60]]


def nats(folder: Path, texts: list[str]) -> float:
    """Return the nats of the texts' own tokens."""
    ids = [row[:-1] for row in document_ids(load_tokenizer(folder), texts)]
    with torch.no_grad():
        logits = load_model(folder, dtype=torch.float32)(pad_right(ids)).logits
    labels = pad_right([row[1:] for row in ids], IGNORE)
    return float(token_nll(logits[:, : labels.shape[1]], labels).sum())


@pytest.mark.parametrize("init", FITTED)
@pytest.mark.parametrize("tied", [False, True])
def test_only_new_rows_are_fitted(model_copy, chinese_file, tmp_path, init, tied):
    model = AutoModelForCausalLM.from_pretrained(model_copy, dtype=torch.bfloat16)
    model.config.tie_word_embeddings = tied
    model.tie_weights()
    (model_copy / "model.safetensors").unlink()
    model.save_pretrained(model_copy, max_shard_size="40KB")
    started = extended(model_copy, chinese_file, tmp_path / "started", init="merge-tree")
    fitted = extended(model_copy, chinese_file, tmp_path / "fitted", init=init, init_steps=3, pad_to_multiple=64)
    before, after = tensors(started), tensors(fitted)
    num_base = read_base(model_copy).num_tokens
    assert before.keys() == after.keys()
    assert ("lm_head.weight" in after) is not tied
    changed = {name for name in after if not torch.equal(after[name][: len(before[name])], before[name])}
    both = {"model.embed_tokens.weight", "lm_head.weight"} & after.keys()
    assert changed == (both if init == "distilled" else {"model.embed_tokens.weight" if tied else "lm_head.weight"})
    for name in both:
        assert after[name].dtype == torch.bfloat16
        assert torch.equal(after[name][:num_base], before[name][:num_base])
        padding = after[name][len(before[name]) :]
        assert len(padding) > 0
        assert torch.equal(padding, padding[:1].expand_as(padding))
    again = extended(model_copy, chinese_file, tmp_path / "again", init=init, init_steps=3, pad_to_multiple=64)
    assert all(torch.equal(tensor, after[name]) for name, tensor in tensors(again).items())


def test_on_a_trained_model_each_way_starts_better_than_the_one_before(chinese_file, tmp_path):
    texts = some_texts(chinese_file)
    english = ["Return the number of items in the list.", "The file is read once, from the start to the end."]
    zh: dict[str, float] = {}
    en: dict[str, float] = {}
    for init in ("merge-tree", "calibrated", "distilled"):
        folder = extended(DEMO_BASE, chinese_file, tmp_path / init, init=init, init_steps=10)
        zh[init], en[init] = nats(folder, texts), nats(folder, english)
    assert zh["calibrated"] < 0.9 * zh["merge-tree"]
    assert zh["distilled"] < zh["calibrated"]
    assert en["calibrated"] < 1.1 * en["merge-tree"]


def test_the_default_is_calibrated_where_there_is_text_and_the_manifest_says_so(
    tiny_model_folder, chinese_file, tmp_path
):
    out = extended(tiny_model_folder, chinese_file, tmp_path / "out")
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["init"] == "calibrated"
    merged = ExtendConfig(base=tmp_path, out=tmp_path / "o", method="merge-spm", spm=tmp_path / "zh.model")
    assert merged.resolved_init == "merge-tree"


def test_a_model_larger_than_the_machine_is_refused_before_the_long_part(
    tiny_model_folder, chinese_file, tmp_path, monkeypatch
):
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    with pytest.raises(InputError, match="pass --init merge-tree"):
        extended(tiny_model_folder, chinese_file, tmp_path / "out", init="calibrated")
    assert not (tmp_path / "out").exists()
    out = extended(tiny_model_folder, chinese_file, tmp_path / "out")
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["init"] == "merge-tree"


def test_calibrated_logits_fit_the_frequencies_and_stay_low_in_foreign_text(
    extended_folder, chinese_file, tiny_model_folder
):
    num_base, tokenizer = read_base(tiny_model_folder).num_tokens, load_tokenizer(extended_folder)
    here = [ids[:60] for ids in document_ids(tokenizer, some_texts(chinese_file))]
    there = document_ids(tokenizer, ENGLISH)
    counts = np.bincount([i for ids in here for i in ids], minlength=len(tokenizer))
    new = slice(num_base, len(tokenizer))

    def mean_logits(model: Any, rows: list[list[int]]) -> np.ndarray:
        with torch.no_grad():
            return torch.cat([model(torch.tensor([ids])).logits[0, :, new] for ids in rows]).mean(0).numpy()

    before = load_model(extended_folder, dtype=torch.float32)
    plain, guarded = copy.deepcopy(before), copy.deepcopy(before)
    calibrate(plain, here, counts.tolist(), num_base)
    calibrate(guarded, here, counts.tolist(), num_base, there)
    wanted = np.log(np.maximum(counts[new], 0.5))
    for model in (plain, guarded):
        logits = mean_logits(model, here)
        np.testing.assert_allclose(logits - logits.mean(), wanted - wanted.mean(), atol=1e-3)
    moved = [np.abs(mean_logits(model, there) - mean_logits(before, there)).mean() for model in (plain, guarded)]
    assert moved[1] < 0.8 * moved[0]


def test_a_text_is_spelled_in_old_tokens_with_the_place_where_each_new_one_ends():
    assert spell([1, 10, 2, 11], [[5, 6, 7], [8]], 10) == ([1, 5, 6, 7, 2, 8], [0, 3, 4, 5])


def test_hidden_states_that_agree_cost_nothing(tiny_model_folder):
    """Old tokens alone are read alike by both, so only the next-token loss is left."""
    model = load_model(tiny_model_folder, dtype=torch.float32)
    rows = [[1, 20, 21, 22, 23], [1, 30, 31]]
    with torch.no_grad():
        assert float(loss(model, rows, [], 300, 1.0)) == pytest.approx(float(loss(model, rows, [], 300, 0.0)))


def test_rows_are_cut_where_the_bases_spelling_would_outgrow_the_context():
    spelled = [[1] * 30]
    rows = cut([[1, 10, 10, 10, 2] * 100], spelled, 10, 70)
    assert sum(map(len, rows)) == 500
    assert all(len(row) <= ROW_TOKENS and len(spell(row, spelled, 10)[0]) <= 70 for row in rows)
