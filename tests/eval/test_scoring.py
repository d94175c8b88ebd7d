"""Scores of spans and documents equal a plain loop over transformers, whatever the batch and window."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval.document_scores import DocumentScores, Windows, score_documents
from eval.scoring import score_spans
from eval.spans import Span, document_spans
from hanlm.errors import InputError, Interrupted
from hanlm.log import Progress
from hanlm.signals import StopRequest

TEXTS = [
    "The river runs past the old mill.",
    "这本书写得很好，我一口气读完了，推荐给喜欢历史的朋友。" * 2,
    "A",
    "Numbers such as 3, 14 and 1592 stand beside words 好。\n\n  indented\t\ttext",
]


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(str(tiny_model_folder), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(tiny_model_folder))


def score(model: Any, tokenizer: Any, texts: list[str], length: int, stride: int, batch_tokens: int) -> DocumentScores:
    return score_documents(
        model,
        tokenizer,
        texts,
        Windows(length=length, stride=stride),
        batch_tokens=batch_tokens,
        bar=Progress(None, "test"),
        stop=StopRequest(),
    )


def reference_nats(model: Any, tokenizer: Any, text: str) -> tuple[float, int]:
    """One document at a time, all of it at once, straight from transformers."""
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double()
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")), len(ids) - 1


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_documents_score_as_in_a_plain_unbatched_loop(model: Any, tokenizer: Any, batch_tokens: int):
    scores = score(model, tokenizer, TEXTS, 256, 128, batch_tokens)
    for i, text in enumerate(TEXTS):
        nats, num_tokens = reference_nats(model, tokenizer, text)
        assert num_tokens == scores.num_tokens[i]
        assert scores.nats[i] == pytest.approx(nats, rel=1e-5)


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_a_token_scores_as_the_model_does_given_only_its_window(model: Any, tokenizer: Any, stride: int):
    """Seen from the token: it costs what it costs after one of the contexts that length and stride promise."""
    length = 8
    ids = [tokenizer.bos_token_id, *tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"]]
    assert len(ids) > 3 * length

    def cost(position: int, num_context: int) -> float:
        with torch.no_grad():
            logits_V = model(torch.tensor([ids[position - num_context : position]])).logits[0, -1].double()
        return -float(logits_V.log_softmax(-1)[ids[position]])

    position, total = 1, 0.0
    for span in document_spans(0, ids, length=length, stride=stride):
        ((_, nll),) = score_spans(model, [span], batch_tokens=64)
        for got in nll:
            fewest, most = min(position, length - stride + 1), min(position, length)
            assert any(got == pytest.approx(cost(position, n), rel=1e-4) for n in range(fewest, most + 1))
            position += 1
        total += nll.sum()
    assert position == len(ids)
    scores = score(model, tokenizer, [TEXTS[0]], length, stride, 64)
    assert scores.nats[0] == pytest.approx(total, rel=1e-5)
    assert scores.num_tokens[0] == len(ids) - 1


def test_uniform_logits_cost_log2_vocab_bits_per_token(tiny_model_folder: Path, tokenizer: Any):
    model: Any = AutoModelForCausalLM.from_pretrained(str(tiny_model_folder), dtype=torch.float32).eval()
    model.lm_head.weight.data.zero_()
    scores = score(model, tokenizer, TEXTS, 16, 8, 64)
    bits_per_token = scores.nats / math.log(2) / scores.num_tokens
    assert bits_per_token == pytest.approx(np.full(len(TEXTS), math.log2(model.config.vocab_size)), abs=1e-5)


def test_span_scores_are_those_of_its_own_tokens(model: Any):
    """Spans of different lengths share a batch; each gets its own tail back."""
    spans = [Span(0, [1, 5, 6, 7, 8], 3), Span(1, [1, 9], 1), Span(2, [1, 5, 6, 7, 8, 9, 10], 6)]
    together = {span.owner: nll for span, nll in score_spans(model, spans, batch_tokens=1000)}
    alone = {span.owner: nll for one in spans for span, nll in score_spans(model, [one], batch_tokens=1000)}
    for owner, num_scored in ((0, 2), (1, 1), (2, 1)):
        assert len(together[owner]) == num_scored
        assert together[owner] == pytest.approx(alone[owner], rel=1e-5)


def test_nan_is_refused(tiny_model_folder: Path):
    model: Any = AutoModelForCausalLM.from_pretrained(str(tiny_model_folder), dtype=torch.float32).eval()
    model.lm_head.weight.data[3] = math.nan
    with pytest.raises(InputError, match="NaN"):
        list(score_spans(model, [Span(0, [1, 2, 3], 1)], batch_tokens=10))


def test_a_stop_request_interrupts(model: Any, tokenizer: Any):
    with pytest.raises(Interrupted, match="again to resume"):
        score_documents(
            model,
            tokenizer,
            TEXTS,
            Windows(length=16, stride=8),
            batch_tokens=16,
            bar=Progress(None, "test"),
            stop=StopRequest(requested=True),
        )


def test_scores_survive_being_stored(model: Any, tokenizer: Any, tmp_path: Path):
    scores = score(model, tokenizer, TEXTS, 64, 32, 256)
    scores.save(tmp_path / "scores.npz")
    again = DocumentScores.load(tmp_path / "scores.npz")
    assert again is not None
    assert np.array_equal(again.nats, scores.nats)
    assert np.array_equal(again.num_tokens, scores.num_tokens)
    assert (again.documents_hash, again.num_unknown_tokens) == (scores.documents_hash, scores.num_unknown_tokens)


@pytest.mark.parametrize("num_bytes", [0, 1, 300, -1])
def test_stored_scores_that_were_cut_count_as_none(model: Any, tokenizer: Any, tmp_path: Path, num_bytes: int):
    path = tmp_path / "scores.npz"
    assert DocumentScores.load(path) is None
    score(model, tokenizer, TEXTS, 64, 32, 256).save(path)
    path.write_bytes(path.read_bytes()[:num_bytes])
    assert DocumentScores.load(path) is None


def test_tokens_that_stand_for_unknown_text_are_counted(model: Any, tokenizer: Any):
    """With byte fallback only a text that spells the unknown token itself has one."""
    scores = score(model, tokenizer, ["all of this comes back 好", "an <unk> token"], 64, 32, 256)
    assert scores.num_unknown_tokens == 1
