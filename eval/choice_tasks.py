"""Forced-choice rows, and the spans in which a model scores each choice.

Prompt and choice are tokenized as one text, since a tokenizer may merge across their border. Every choice of a row is
scored from the same token on: the first that reaches past the prompt in any of them. So the scores of a row's choices
cover the same text, up to the choice itself, and differ by ``log p(choice | prompt)``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eval.spans import Span
from hanlm.chat import check_messages, render_text
from hanlm.errors import InputError
from hanlm.json_lines import numbered_json_lines
from hanlm.quarantine import Quarantine
from hanlm.records import JSON_SUFFIXES, list_files
from hanlm.tokenizing import context_token

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

type PromptForm = Literal["auto", "chat", "plain"]
"""How a row is put to a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceRow:
    """One question."""

    prompt: str
    """The question as plain text."""
    messages: list[dict[str, str]] | None
    """The same as a conversation that ends with the user's turn, for chat models."""
    choices: list[str]
    """The possible answers."""
    label: int
    """Index of the right one."""
    group: str
    """What its accuracy is also counted by, such as the template; may be empty."""


def read_rows(paths: Sequence[Path], quarantine: Quarantine) -> list[ChoiceRow]:
    """Read the rows of JSON lines; those that are no question go to the quarantine.

    Raises:
        InputError: If no row is left.
    """
    rows: list[ChoiceRow] = []
    for file in list_files(paths, JSON_SUFFIXES):
        for number, record in numbered_json_lines(file, quarantine, ("choices", "label")):
            try:
                rows.append(parse_row(record))
            except InputError as error:
                quarantine.add("not_a_choice_row", file, number, str(error).encode())
    if not rows:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in quarantine.counts.items())
        raise InputError(
            f"expected rows of {{prompt or messages, choices, label}}, got none ({reasons}); check --task."
        )
    return rows


def parse_row(record: Mapping[str, Any]) -> ChoiceRow:
    """Return a record as a question.

    Raises:
        InputError: If a field is missing or does not fit the others.
    """
    choices, label, prompt = record["choices"], record["label"], record.get("prompt")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        raise InputError(f"expected choices to be at least two texts, got {choices!r}")
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(choices):
        raise InputError(f"expected label to be an index into {len(choices)} choices, got {label!r}")
    messages = check_messages(record["messages"], last="user") if record.get("messages") is not None else None
    if prompt is None and messages is not None:
        prompt = "\n".join(message["content"] for message in messages) + "\n"
    if not isinstance(prompt, str) or not prompt:
        raise InputError(f"expected prompt or messages, got prompt {prompt!r} and no messages")
    return ChoiceRow(
        prompt=prompt, messages=messages, choices=choices, label=label, group=str(record.get("group") or "")
    )


def uses_chat(tokenizer: "PreTrainedTokenizerBase", rows: Sequence[ChoiceRow], form: PromptForm) -> bool:
    """Return whether a model is asked through its chat template.

    Raises:
        InputError: If ``form`` is chat and the model has no template, or a row no messages.
    """
    has_template = bool(getattr(tokenizer, "chat_template", None))
    has_messages = all(row.messages is not None for row in rows)
    if form == "chat" and not (has_template and has_messages):
        what = "the rows have no messages" if has_template else "the model has no chat template"
        raise InputError(f"--form chat needs a chat template and rows with messages, but {what}; pass --form auto.")
    return has_template and has_messages if form == "auto" else form == "chat"


def choice_spans(tokenizer: "PreTrainedTokenizerBase", rows: Sequence[ChoiceRow], *, chat: bool) -> Iterator[Span]:
    """Yield one span per choice; owners count the choices of all rows.

    Args:
        tokenizer: A fast tokenizer (slow ones cannot tell which characters a token covers).
        rows: Questions.
        chat: Whether to render the messages with the chat template, which then also says how a text begins.
    """
    owner = 0
    for row in rows:
        prompt = render_text(tokenizer, row.messages, for_answer=True) if chat and row.messages else row.prompt
        encoded = [_encode(tokenizer, prompt, choice) for choice in row.choices]
        first = min(first_scored for _, first_scored in encoded)
        context = [] if chat and encoded[0][0][:1] == [context_token(tokenizer)] else [context_token(tokenizer)]
        for ids, _ in encoded:
            yield Span(owner, [*context, *ids], first + len(context))
            owner += 1


def fit_span(span: Span, max_length: int | None) -> Span:
    """Return the span with the beginning of its prompt left out, so that its inputs fit into ``max_length`` tokens.

    The context token stays, and what is scored is never cut.
    """
    excess = 0 if max_length is None else len(span.ids) - 1 - max_length
    cut = min(excess, span.first_scored - 1)
    if cut <= 0:
        return span
    return Span(span.owner, [span.ids[0], *span.ids[1 + cut :]], span.first_scored - cut)


def _encode(tokenizer: "PreTrainedTokenizerBase", prompt: str, choice: str) -> tuple[list[int], int]:
    batch: Any = tokenizer(prompt + choice, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in batch["offset_mapping"]]
    first = next((i for i, end in enumerate(ends) if end > len(prompt)), len(ends) - 1)
    return batch["input_ids"], first
