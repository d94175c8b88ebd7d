"""Conversations: checking their form, rendering them with a chat template, and saving a template beside a tokenizer.

A conversation is a list of messages ``{"role": "user", "content": "你好"}``: at most one ``system`` message first, then
``user`` and ``assistant`` in turn. Templates are jinja, rendered by transformers in its immutable sandbox: the text a
model is trained on, asked with and measured with is one and the same. The markers ``{% generation %}`` around what the
assistant says tell which tokens bear loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hanlm.errors import HanLMError, InputError
from hanlm.time_limit import TimeUpError, time_limit

type Message = dict[str, str]
"""One turn: its ``role`` (system, user or assistant) and its ``content``."""

TEMPLATE_FILE = "chat_template.jinja"
"""Where Hugging Face tools look for the template of a tokenizer folder."""

TEMPLATE_SECONDS = 10.0
"""How long a template may take; those of chat models take milliseconds."""

_CHARS_A_SECOND = 20_000
"""Slower than any tokenizer on any machine."""

_EXPRESSION_ERRORS = (RecursionError, MemoryError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a template's expressions raise, beside jinja2's own errors: of 1 / 0, or of adding a number to a text."""

ALPACA_ZH = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] | trim }}\n\n"
    "{% elif message['role'] == 'user' %}### 指令：\n{{ message['content'] | trim }}\n\n### 回答：\n"
    "{% elif message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] | trim }}{{ eos_token }}{% endgeneration %}"
    "{% endif %}"
    "{% endfor %}"
)
"""The default: Alpaca's headings in Chinese, any number of turns, no added tokens.

The heading of the answer belongs to the user's turn and ends in a newline, which no Chinese piece contains: nothing can
merge across the border, so the ids of a prompt are always a prefix of the ids of the whole conversation. The end token
lies inside the generation markers, so a model learns to stop.
"""


def user_text(instruction: str, input_text: str = "") -> str:
    """Return the content of the user's message for an Alpaca row: the instruction, then its input on a line of its own.

    Training rows and test prompts are both made by this function, so that they agree to the character.
    """
    instruction, input_text = instruction.strip(), input_text.strip()
    return f"{instruction}\n{input_text}" if input_text else instruction


def check_messages(value: object, *, last: str) -> list[Message]:
    """Return ``value`` as messages of which the last is by ``last``, with nothing but role and content.

    Args:
        value: What a file or a caller gave as ``messages``.
        last: ``"assistant"`` for a training row, ``"user"`` for a question to a model.

    Raises:
        InputError: If it is not a list of messages, a role is unknown, the turns do not alternate, or a content is
            missing or blank. The sentence names the turn.
    """
    if not isinstance(value, list) or not value:
        raise InputError("expected messages to be a list of at least one {role, content}, got " + _describe(value))
    messages = [_message(item, turn) for turn, item in enumerate(cast("list[object]", value))]
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    for turn, message in enumerate(turns, start=len(messages) - len(turns)):
        expected = "user" if (turn - (len(messages) - len(turns))) % 2 == 0 else "assistant"
        if message["role"] != expected:
            raise InputError(f"expected user and assistant to take turns, got {message['role']!r} in turn {turn}")
    if not turns or turns[-1]["role"] != last:
        raise InputError(f"expected the last message to be by {last}, got {messages[-1]['role']!r}")
    return messages


def _message(item: object, turn: int) -> Message:
    if not isinstance(item, Mapping):
        raise InputError(f"expected turn {turn} to be an object with role and content, got {_describe(item)}")
    fields = cast("Mapping[str, object]", item)
    role, content = fields.get("role"), fields.get("content")
    if role not in ("system", "user", "assistant"):
        raise InputError(f"expected the role of turn {turn} to be system, user or assistant, got {role!r}")
    if not isinstance(content, str) or not content.strip():
        raise InputError(
            f"expected the content of turn {turn} to be a text that is not blank, got {_describe(content)}"
        )
    return {"role": str(role), "content": content}


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    return f"a blank {type(value).__name__}" if value in ("", [], {}) else f"{type(value).__name__} {str(value)[:40]!r}"


def require_template(tokenizer: Any, folder: Path) -> None:
    """Raise an ``InputError`` that names the remedy unless ``tokenizer`` has a chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            f"{folder} has no chat template, so it cannot hold a conversation: use the chat model that "
            "`hanlm sft` writes (OUT/model), or train one with it."
        )


def render_text(
    tokenizer: Any, messages: Sequence[Message], *, for_answer: bool = False, template: str | None = None
) -> str:
    """Return the text of a conversation, special tokens spelled out.

    Args:
        tokenizer: A transformers tokenizer.
        messages: A checked conversation.
        for_answer: Whether the model is to go on from here (templates that write a heading for the answer add it).
        template: A template to use instead of the tokenizer's own.
    """
    return str(_apply(tokenizer, messages, template, tokenize=False, add_generation_prompt=for_answer))


def prompt_ids(tokenizer: Any, messages: Sequence[Message], *, template: str | None = None) -> list[int]:
    """Return the ids that ask a model for its next answer. What users wrote never becomes a special token."""
    return [
        int(i)
        for i in _apply(
            tokenizer,
            messages,
            template,
            tokenize=True,
            return_dict=False,
            add_generation_prompt=True,
            sanitize_control_tokens=True,
        )
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedIds:
    """A conversation as tokens."""

    ids: list[int]
    """Token ids, the template's special tokens included."""
    answer_mask: list[int]
    """1 where a token is the assistant's (its end token included), else 0; as long as ``ids``."""


def render_ids(
    tokenizer: Any, conversations: Sequence[Sequence[Message]], *, template: str | None = None
) -> list[RenderedIds]:
    """Return each conversation as ids with the mask of the assistant's tokens, as transformers computes it.

    Raises:
        InputError: If the template has no ``{% generation %}`` markers, so that answers cannot be told from prompts.
    """
    if not conversations:
        return []
    batch = _apply(
        tokenizer,
        [list(c) for c in conversations],
        template,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    rendered = [
        RenderedIds(ids=ids, answer_mask=mask)
        for ids, mask in zip(batch["input_ids"], batch["assistant_masks"], strict=True)
    ]
    if not any(any(one.answer_mask) for one in rendered):
        raise InputError(
            "expected a chat template with {% generation %} markers around the assistant's text, got one that marks "
            "nothing: add the markers, or use the default template."
        )
    return rendered


def _apply(tokenizer: Any, messages: Any, template: str | None, **options: Any) -> Any:
    import jinja2

    try:
        # Templates are programs and may loop for ever. The seconds by length leave room for the tokenizer alone.
        with time_limit(TEMPLATE_SECONDS + len(str(messages)) / _CHARS_A_SECOND):
            return tokenizer.apply_chat_template(messages, chat_template=template, **options)
    except TimeUpError:
        raise HanLMError(
            f"the chat template was still running after {TEMPLATE_SECONDS:g} seconds; mend it or pass a model with "
            "another one."
        ) from None
    except (jinja2.TemplateError, *_EXPRESSION_ERRORS) as error:
        raise InputError(
            f"the chat template refused this conversation or does not compile ({type(error).__name__}: {error}); "
            "mend the template or the conversation."
        ) from error


def attach_template(folder: Path, template: str = ALPACA_ZH) -> None:
    """Save ``template`` in a tokenizer folder, where transformers and other tools find it, in place of any other.

    Raises:
        InputError: If the folder's ``tokenizer_config.json`` is not JSON.
    """
    config_path = folder / "tokenizer_config.json"
    if config_path.exists():
        try:
            config = json.loads(config_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{config_path} is not valid JSON ({error}); restore it from its source.") from error
        # Older folders keep a template here; two that differ would leave it to each reader which one counts.
        if config.pop("chat_template", None) is not None:
            config_path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    (folder / TEMPLATE_FILE).write_text(template, encoding="utf-8")
