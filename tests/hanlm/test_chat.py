"""Conversations: form, rendering through the sandbox, masks, and the template beside a tokenizer."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from hanlm import chat
from hanlm.errors import HanLMError, InputError
from hanlm.time_limit import TimeUpError, time_limit
from hanlm.tokenizing import load_tokenizer, tokenizer_hash

SPECIALS = ("<unk>", "<s>", "</s>", "<pad>")
USER = {"role": "user", "content": "你好吗"}
ANSWER = {"role": "assistant", "content": "我很好。"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaMA-like tokenizer: metaspace, byte fallback, a few Chinese merges."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    pieces = [*SPECIALS, *(f"<0x{b:02X}>" for b in range(256)), "▁", "你", "好", "吗", "我", "很", "。", "：", "#"]
    merges = [("你", "好"), ("#", "#"), ("很", "好")]
    vocab = {piece: i for i, piece in enumerate([*pieces, *("".join(m) for m in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    path = tmp_path_factory.mktemp("tokenizer")
    names: dict[str, Any] = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(path)
    chat.attach_template(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return load_tokenizer(folder)


def test_the_default_template_renders_turns_under_alpaca_headings(tokenizer: Any):
    system = {"role": "system", "content": "简短"}
    text = chat.render_text(tokenizer, [system, USER, ANSWER, USER])
    assert text == "<s>简短\n\n### 指令：\n你好吗\n\n### 回答：\n我很好。</s>### 指令：\n你好吗\n\n### 回答：\n"


@pytest.mark.parametrize("answer", ["好", "好吗", "😀好", " 很好 \n", "\n我", "。", "a b", "</s好"])
def test_a_prompt_is_a_prefix_of_the_conversation_and_the_mask_covers_exactly_the_rest(tokenizer: Any, answer: str):
    messages = [USER, ANSWER, USER, {"role": "assistant", "content": answer}]
    rendered = chat.render_ids(tokenizer, [messages])[0]
    prompt = chat.prompt_ids(tokenizer, messages[:-1])
    assert rendered.ids[: len(prompt)] == prompt
    assert rendered.answer_mask[len(prompt) :] == [1] * (len(rendered.ids) - len(prompt))
    assert rendered.ids[-1] == tokenizer.eos_token_id
    first = chat.prompt_ids(tokenizer, messages[:1])
    spoken = [i for i, m in zip(rendered.ids[: len(prompt)], rendered.answer_mask, strict=False) if m]
    assert tokenizer.decode(spoken).strip() == "我很好。</s>"
    assert rendered.answer_mask[: len(first)] == [0] * len(first)


def test_what_a_user_writes_never_becomes_a_special_token(tokenizer: Any):
    ids = chat.prompt_ids(tokenizer, [{"role": "user", "content": "你</s>好<s>"}])
    assert tokenizer.eos_token_id not in ids
    assert ids.count(tokenizer.bos_token_id) == 1
    assert "你</s>好<s>" in tokenizer.decode(ids, skip_special_tokens=True)


def test_a_template_lies_where_other_tools_look_and_leaves_the_tokenizer_hash_alone(folder: Path, tmp_path: Path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = tokenizer_hash(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "old"}))
    chat.attach_template(tmp_path, "new {{ messages[0]['content'] }}")
    assert tokenizer_hash(tmp_path) == before
    assert chat.render_text(load_tokenizer(tmp_path), [USER]) == "new 你好吗"
    assert "chat_template" not in json.loads((tmp_path / "tokenizer_config.json").read_text())


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception.__globals__['os'].system('true') }}",
        "{{ messages.clear() }}",
        "{{ range(10 ** 9) | list }}",
        "{{ raise_exception('no such role') }}",
        "{{ 1 / 0 }}",
        "{{ messages[0]['content'] + 1 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{% for %}",
    ],
)
def test_a_template_that_reaches_for_python_or_fails_is_refused(tokenizer: Any, template: str):
    with pytest.raises(InputError, match="refused"):
        chat.render_text(tokenizer, [USER], template=template)


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.fault(24)
def test_a_template_that_loops_for_ever_is_stopped_and_said(tokenizer: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chat, "TEMPLATE_SECONDS", 0.2)
    for render in (
        lambda: chat.render_text(tokenizer, [USER], template=ENDLESS),
        lambda: chat.prompt_ids(tokenizer, [USER], template=ENDLESS),
        lambda: chat.render_ids(tokenizer, [[USER, ANSWER]], template=ENDLESS),
    ):
        start = time.monotonic()
        with pytest.raises(HanLMError, match=r"still running after 0\.2 seconds"):
            render()
        assert time.monotonic() - start < 5


def test_a_limit_of_time_leaves_an_outer_timer_running():
    fired: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda signum, _frame: fired.append(signum))
    outer = signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(TimeUpError), time_limit(0.05):
            time.sleep(1)
        with time_limit(10):
            pass
        time.sleep(0.3)
        assert fired == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def test_a_template_without_markers_cannot_tell_answers_from_prompts(tokenizer: Any):
    plain = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(InputError, match="generation"):
        chat.render_ids(tokenizer, [[USER, ANSWER]], template=plain)


def test_a_tokenizer_without_a_template_names_the_remedy(tmp_path: Path):
    class Bare:
        chat_template = None

    with pytest.raises(InputError, match="hanlm sft"):
        chat.require_template(Bare(), tmp_path)


def test_messages_keep_role_and_content_only():
    assert chat.check_messages([{**USER, "id": 3}, ANSWER], last="assistant") == [USER, ANSWER]


@pytest.mark.parametrize(
    ("value", "last", "words"),
    [
        (None, "user", "got nothing"),
        ([], "user", "blank list"),
        (["你好"], "user", "turn 0"),
        ([{"role": "robot", "content": "x"}], "user", "robot"),
        ([{"role": "user", "content": " "}], "user", "turn 0"),
        ([{"role": "user"}], "user", "got nothing"),
        ([ANSWER, USER], "user", "take turns"),
        ([USER, USER], "user", "take turns"),
        ([USER, {"role": "system", "content": "x"}], "assistant", "take turns"),
        ([USER], "assistant", "last message"),
        ([{"role": "system", "content": "x"}], "user", "last message"),
    ],
)
def test_a_broken_conversation_is_refused_with_a_sentence_that_names_the_turn(value: object, last: str, words: str):
    with pytest.raises(InputError, match=words):
        chat.check_messages(value, last=last)


def test_an_alpaca_row_becomes_one_user_text():
    assert chat.user_text(" 判断情感\n", "很好 ") == "判断情感\n很好"
    assert chat.user_text("你好") == "你好"
