"""Forced choice: scores equal transformers' own likelihoods, merges across the border included; rows read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval.choice_tasks import ChoiceRow, choice_spans, fit_span, parse_row, read_rows, uses_chat
from eval.scoring import score_spans
from eval.spans import Span
from hanlm.chat import ALPACA_ZH, render_text
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(str(tiny_model_folder), dtype=torch.float32).eval()


@pytest.fixture
def tokenizer(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(tiny_model_folder))


def row(prompt: str, choices: list[str], messages: list[dict[str, str]] | None = None) -> ChoiceRow:
    return ChoiceRow(prompt=prompt, messages=messages, choices=choices, label=0, group="")


def log_p(model: Any, ids: list[int]) -> float:
    """Log-likelihood of all tokens after the first, straight from transformers."""
    with torch.no_grad():
        log_probs = model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
    return float(log_probs.gather(-1, torch.tensor(ids[1:])[:, None]).sum())


def scores(model: Any, tokenizer: Any, one: ChoiceRow, *, chat: bool = False) -> list[float]:
    spans = choice_spans(tokenizer, [one], chat=chat)
    return [-nll.sum() for _, nll in sorted(score_spans(model, spans, batch_tokens=512), key=lambda s: s[0].owner)]


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]


def test_scores_are_log_p_of_the_choice_given_the_prompt(model: Any, tokenizer: Any):
    one = row("评论：很好。\n", ["好评。", "差评。"])
    prompt = log_p(model, ids_of(tokenizer, one.prompt))
    expected = [log_p(model, ids_of(tokenizer, one.prompt + choice)) - prompt for choice in one.choices]
    assert scores(model, tokenizer, one) == pytest.approx(expected, abs=1e-4)
    assert expected[0] != pytest.approx(expected[1], abs=1e-3)


def test_a_merge_across_the_border_is_scored_alike_for_every_choice(model: Any, tokenizer: Any):
    """Here " the" is one token, so the choice cannot be cut off: both choices are scored from before the border on."""
    one = row("past t", ["he mill", "oo far"])
    full = [ids_of(tokenizer, one.prompt + choice) for choice in one.choices]
    shared = next(i for i, (a, b) in enumerate(zip(*full, strict=False)) if a != b)
    assert shared < len(ids_of(tokenizer, one.prompt))
    got = scores(model, tokenizer, one)
    assert got[0] - got[1] == pytest.approx(log_p(model, full[0]) - log_p(model, full[1]), abs=1e-4)


def test_chat_rows_are_rendered_with_the_models_template(model: Any, tokenizer: Any):
    tokenizer.chat_template = ALPACA_ZH
    messages = [{"role": "user", "content": "好还是差？"}]
    one = row("unused", ["好", "差"], messages)
    text = render_text(tokenizer, messages, for_answer=True)
    assert text.startswith("<s>")
    ids = [tokenizer(text + choice, add_special_tokens=False)["input_ids"] for choice in one.choices]
    assert ids[0].count(tokenizer.bos_token_id) == 1
    got = scores(model, tokenizer, one, chat=True)
    assert got[0] - got[1] == pytest.approx(log_p(model, ids[0]) - log_p(model, ids[1]), abs=1e-4)


def test_a_model_without_a_template_is_asked_plainly(tokenizer: Any):
    rows = [row("a", ["b", "c"], [{"role": "user", "content": "a"}])]
    assert not uses_chat(tokenizer, rows, "auto")
    with pytest.raises(InputError, match="the model has no chat template"):
        uses_chat(tokenizer, rows, "chat")
    tokenizer.chat_template = ALPACA_ZH
    assert uses_chat(tokenizer, rows, "auto")
    assert not uses_chat(tokenizer, rows, "plain")
    assert not uses_chat(tokenizer, [row("a", ["b", "c"])], "auto")


@given(num_ids=st.integers(2, 30), first=st.integers(1, 29), max_length=st.integers(1, 30))
def test_a_long_prompt_loses_its_beginning_and_nothing_else(num_ids: int, first: int, max_length: int):
    span = Span(0, list(range(num_ids)), min(first, num_ids - 1))
    fitted = fit_span(span, max_length)
    assert list(fitted.ids[fitted.first_scored :]) == list(span.ids[span.first_scored :])
    assert fitted.ids[0] == 0
    assert len(fitted.ids) - 1 <= max(max_length, span.num_scored)
    assert len(fitted.ids) == len(span.ids) or len(fitted.ids) - 1 >= max_length


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"choices": ["only"]}, "at least two texts"),
        ({"choices": ["a", ""]}, "at least two texts"),
        ({"label": 2}, "index into 2 choices"),
        ({"label": "0"}, "index into 2 choices"),
        ({"label": True}, "index into 2 choices"),
        ({"prompt": None}, "expected prompt or messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "expected"),
    ],
)
def test_rows_that_are_no_question_are_refused(change: dict[str, Any], sentence: str):
    good = {"prompt": "p", "choices": ["a", "b"], "label": 1, "group": "g"}
    assert parse_row(good).label == 1
    with pytest.raises(InputError, match=sentence):
        parse_row(good | change)


@pytest.mark.fault(14)
def test_malformed_rows_are_set_aside_and_good_ones_kept(tmp_path: Path):
    good = {"prompt": "p", "choices": ["a", "b"], "label": 0}
    lines = [json.dumps(good), '{"prompt": ', json.dumps(good | {"label": 7}), json.dumps({"prompt": "p"})]
    (tmp_path / "task.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    quarantine = Quarantine(None)
    assert len(read_rows([tmp_path / "task.jsonl"], quarantine)) == 1
    assert quarantine.counts == {"malformed_json": 1, "not_a_choice_row": 1, "missing_field": 1}


def test_a_task_without_questions_is_refused(tmp_path: Path):
    (tmp_path / "task.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"got none \(missing_field: 1\)"):
        read_rows([tmp_path / "task.jsonl"], Quarantine(None))
