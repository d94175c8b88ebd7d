"""``hanlm chat``: a conversation with a model, on a terminal or from the command line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlm.adapters import ADAPTER_CONFIG, is_adapter
from hanlm.chat import Message, check_messages
from hanlm.devices import Device, Precision
from hanlm.errors import ConfigError, InputError, Interrupted
from hanlm.log import say
from hanlm.model_folder import check_model_folder
from hanlm.publish import publish, refuse_existing
from hanlm.tokenizing import tokenizer_hash

if TYPE_CHECKING:
    from sft.generate import ChatModel, Sampling

_HELP = "type a message and press enter; /new starts a new conversation, /quit (or ctrl-D) ends, /help says this"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatConfig:
    """Talk to a chat model: on the terminal, or one answer for each --prompt, or the next turn of --messages."""

    model: Path
    """Model folder with a chat template, such as the `model/` that `hanlm sft` writes."""
    adapter: Path | None = None
    """LoRA adapter (PEFT) to put on the model, which then is the base it was trained on."""
    prompt: tuple[str, ...] = ()
    """What to ask; each is a conversation of its own. Without --prompt and --messages the terminal is read."""
    messages: Path | None = None
    """JSON file with a list of {role, content} that ends with the user's turn."""
    system: str | None = None
    """System message put before every conversation."""
    out: Path | None = None
    """Where to write the conversations (chat.json) as a report artifact."""
    temperature: float = 0.7
    """Higher is more varied; 0 always takes the likeliest token."""
    top_p: float = 0.9
    """Sample from the likeliest tokens that together have this probability."""
    repetition_penalty: float = 1.1
    """Above 1, tokens already seen become less likely; 1 is none."""
    max_new_tokens: int = 256
    """Longest answer, in tokens."""
    precision: Precision = "auto"
    """On CUDA; a CPU answers in fp32."""
    device: Device = "auto"
    """auto: cuda where there is one."""
    trust_remote_code: bool = False
    """Let a model folder run Python of its own (auto_map). Only for code that you have read."""
    seed: int = 0
    """The same seed gives the same answers."""
    overwrite: bool = False
    """Replace a finished OUT."""

    def __post_init__(self) -> None:
        if self.prompt and self.messages is not None:
            raise ConfigError("pass --prompt or --messages, not both.")
        if self.temperature < 0:
            raise ConfigError(f"temperature should be at least 0, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p should be above 0 and at most 1, got {self.top_p}.")
        if not self.repetition_penalty > 0:
            raise ConfigError(f"repetition_penalty should be above 0, got {self.repetition_penalty}.")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens should be at least 1, got {self.max_new_tokens}.")
        if any(not text.strip() for text in self.prompt):
            raise ConfigError("prompt should not be blank.")
        if not all(_is_utf8(text) for text in (*self.prompt, self.system or "")):
            raise ConfigError("prompt and system should be UTF-8, got bytes that are not.")


def plan(config: ChatConfig) -> list[str]:
    """Check the inputs cheaply and say what a run would do."""
    check_model_folder(config.model, trust_remote_code=config.trust_remote_code)
    if config.adapter is not None and not is_adapter(config.adapter):
        raise InputError(f"expected an adapter at {config.adapter}, got no {ADAPTER_CONFIG} there; check the path.")
    if config.out is not None:
        refuse_existing(config.out, config.overwrite)
    asked = _given(config)
    what = f"answers {len(asked)} conversations" if asked else "opens a conversation on the terminal"
    return [f"loads {config.model} and {what}", *([f"writes {config.out}/chat.json"] if config.out else [])]


def chat(config: ChatConfig) -> Path | None:
    """Hold the conversations; return OUT, or None where nothing is written.

    Raises:
        InputError: If the model has no chat template, or the messages are malformed.
        Interrupted: If ctrl-C ended a talk on the terminal, whose answers were written to OUT first.
    """
    plan(config)
    from sft.generate import ChatModel, Sampling

    given = _given(config)
    model = ChatModel(
        config.model,
        adapter=config.adapter,
        precision=config.precision,
        device=config.device,
        trust_remote_code=config.trust_remote_code,
    )
    sampling = Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        repetition_penalty=config.repetition_penalty,
        max_new_tokens=config.max_new_tokens,
    )
    held: list[dict[str, Any]] = []
    for i, messages in enumerate(given):
        say(f"> {messages[-1]['content']}")
        held.append(_answered(model, messages, sampling, config.seed + i))
    if given:
        return _publish(config, held)
    try:
        _converse(model, sampling, config, held)
    except KeyboardInterrupt:
        _show("\n")
        if config.out is None or not held:
            raise
        # Prompts can be asked again and get the same answers; what a person typed cannot.
        raise Interrupted(f"stopped; what was said before is in {_publish(config, held)}.") from None
    return _publish(config, held)


def _given(config: ChatConfig) -> list[list[Message]]:
    """Return the conversations that the configuration spells, each ending with the user's turn."""
    system = [{"role": "system", "content": config.system}] if config.system else []
    if config.messages is None:
        return [[*system, {"role": "user", "content": text}] for text in config.prompt]
    try:
        value: Any = json.loads(config.messages.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no file {config.messages}; check the path.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{config.messages} is not valid JSON ({error}); expected a list of messages.") from None
    if isinstance(value, dict):
        value = value.get("messages")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    messages = check_messages([*system, *value] if isinstance(value, list) else value, last="user")
    if not all(_is_utf8(message["content"]) for message in messages):
        raise InputError(f"{config.messages} spells a lone surrogate, which is no character; mend that message.")
    return [messages]


def _is_utf8(text: str) -> bool:
    """Whether a text holds characters alone; bytes that were not UTF-8 arrive as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _answered(model: ChatModel, messages: list[Message], sampling: Sampling, seed: int) -> dict[str, Any]:
    """Let the model say the next turn, streaming it to standard output."""
    import torch

    torch.manual_seed(seed)
    answer = model.answer(messages, sampling, on_text=_show)
    return {
        "messages": [*messages, {"role": "assistant", "content": answer.text}],
        "stopped": answer.stopped,
        "seconds": answer.seconds,
        "tokens": answer.num_tokens,
    }


def _converse(model: ChatModel, sampling: Sampling, config: ChatConfig, held: list[dict[str, Any]]) -> None:
    """Read turns from the terminal until its end; ``held`` gets every conversation as soon as it has an answer."""
    # Its import alone gives input() editing that knows the width of Chinese characters.
    import readline  # noqa: F401  # pyright: ignore[reportUnusedImport]

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # strict, a bad byte would take the lines after it along
    system = [{"role": "system", "content": config.system}] if config.system else []
    messages: list[Message] = list(system)
    say(_HELP)
    while (text := _ask()) is not None:
        if text.startswith("/"):
            messages = list(system) if text == "/new" else messages
            say("a new conversation begins" if text == "/new" else _HELP)
            continue
        if not text:
            continue
        answered = _answered_or_told(model, [*messages, {"role": "user", "content": text}], sampling, config.seed)
        if answered is None:
            messages = list(system)
            continue
        if len(messages) > len(system):
            held.pop()  # the same conversation, one turn shorter
        held.append(answered)
        messages = answered["messages"]


def _answered_or_told(
    model: ChatModel, messages: list[Message], sampling: Sampling, seed: int
) -> dict[str, Any] | None:
    """Answer; where the context is full, say so and return None, so that a long talk does not end the program."""
    try:
        return _answered(model, messages, sampling, seed + len(messages))
    except InputError as error:
        say(f"{error} A new conversation begins.")
        return None


def _ask() -> str | None:
    """Return what the user types, or None at the end; what is not UTF-8 is asked for again."""
    on_terminal = sys.stdin.isatty()
    try:
        while not _is_utf8(text := input("you> " if on_terminal else "").strip()):
            say("that line is not valid UTF-8, so it was not asked: type it again")
    except EOFError:
        return None
    if text and not on_terminal:  # a terminal shows what is typed
        say(f"> {text}")
    return None if text == "/quit" else text


def _show(text: str) -> None:
    print(text, end="", flush=True)


def _publish(config: ChatConfig, held: Sequence[dict[str, Any]]) -> Path | None:
    if config.out is None:
        return None
    if not held:
        raise InputError("no conversation was held, so there is nothing to write; ask something, or leave out --out.")
    inputs = {"model": config.model, **({"adapter": config.adapter} if config.adapter else {})}
    with publish(
        config.out,
        kind="report",
        config=config,
        inputs=inputs,
        seed=config.seed,
        tokenizer_hash=tokenizer_hash(config.model),
        overwrite=config.overwrite,
    ) as draft:
        report = {**held[0], "conversations": list(held)}
        path = draft.folder / "chat.json"
        path.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return config.out
