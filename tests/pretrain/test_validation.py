"""Validation while training is the model's code length of whole documents, in bits per byte."""

import json
import math

import pytest
import torch

from hanlm.tokens import open_tokens
from pretrain.evaluate import Validation, _spread
from pretrain.train import pretrain


def expected_bits(model_folder, tokens, lang: str, *, length: int) -> float:
    """Score every validation document of a language with transformers, window after window."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(str(model_folder), dtype=torch.float32)
    nats, num_bytes = 0.0, 0
    for each in (s for s in tokens.sets if s.split == "valid" and s.lang == lang):
        data = each.open()
        num_bytes += each.num_bytes
        for i in range(each.num_documents):
            ids = torch.from_numpy(data[i].astype("int64"))[:-1]  # without eos
            for start in range(0, len(ids) - 1, length):
                window = ids[start : start + length + 1]
                scores = model(window[None, :-1]).logits[0].log_softmax(-1)
                nats -= scores.gather(1, window[1:, None]).sum().item()
    return nats / math.log(2) / num_bytes


def test_bits_per_byte_of_both_languages_are_those_of_transformers(settings, tiny_tokens):
    """Windows of 16: documents of up to 60 tokens take several. Eos is not scored, bos is context only."""
    config = settings(steps=2, seq_length=16, eval_tokens=100_000, num_evals=1)
    out = pretrain(config)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    first, last = (r for r in rows if "valid/zh" in r)
    assert (first["step"], last["step"]) == (0, 2)
    tokens = open_tokens(tiny_tokens)
    for folder, row in ((config.model, first), (out, last)):
        for lang in ("zh", "en"):
            assert row[f"valid/{lang}"] == pytest.approx(expected_bits(folder, tokens, lang, length=16), abs=1e-5)
    assert {"valid/zh/news", "valid/zh/review", "valid/en/docs"} < set(last)
    assert json.loads((out / "manifest.json").read_text())["bits_per_byte"] == {
        k: v for k, v in last.items() if k.startswith("valid/")
    }


def test_the_budget_is_shared_by_the_sets_and_kept_by_whole_documents(tiny_tokens):
    tokens = open_tokens(tiny_tokens)
    small = Validation([tokens], num_tokens=300, seq_length=64, batch_size=4)
    scored = [0, 0, 0]
    for window in small._windows:
        scored[window.group] += int(window.scored.sum())
    assert all(0 < n <= 100 for n in scored)
    assert [b == 3 * n for b, n in zip(small.num_bytes, scored, strict=True)] == [True] * 3  # 3 bytes a text token


def test_no_budget_means_no_validation(tiny_tokens):
    assert not Validation([open_tokens(tiny_tokens)], num_tokens=0, seq_length=64, batch_size=4)


def test_tensorboard_gets_what_the_json_lines_get(settings):
    pytest.importorskip("tensorboard")
    config = settings(steps=2, report_to=("tensorboard",))
    pretrain(config)
    assert list((config.out.with_name("out.work") / "tensorboard").glob("events*"))


def test_the_published_folder_loads_in_transformers_and_carries_the_vocabulary_report(settings, extended_model):
    from transformers import LlamaForCausalLM

    out = pretrain(settings(steps=1))
    model = LlamaForCausalLM.from_pretrained(str(out))
    assert model.config.vocab_size == 320
    assert (out / "vocab_report.json").read_bytes() == (extended_model / "vocab_report.json").read_bytes()
    for name in ("tokenizer.json", "tokenizer.model", "special_tokens_map.json"):
        assert (out / name).read_bytes() == (extended_model / name).read_bytes()
    assert "Licences" in (out / "README.md").read_text()


@pytest.mark.parametrize("part", [5, 10, 25, 50])
def test_a_small_budget_takes_documents_from_all_over_the_set(part):
    """Documents in file order are neighbours by source; the first of them would stand for a source, not for the set."""
    taken = [index for index, _ in _spread([(i, 1) for i in range(100)])]
    assert sorted(taken) == list(range(100))
    gaps = [b - a for a, b in zip(sorted(taken[:part]), sorted(taken[:part])[1:], strict=False)]
    assert max(gaps) <= 3 * 100 / part
