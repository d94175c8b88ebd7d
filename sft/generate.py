"""Answers from a chat model: the next message of a conversation, by transformers' own generation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import TextStreamer

from hanlm.adapters import adapter_base, load_merged
from hanlm.chat import TEMPLATE_FILE, Message, prompt_ids, require_template
from hanlm.devices import Device, resolve_device, resolve_dtype
from hanlm.errors import InputError
from hanlm.models import load_model
from hanlm.tokenizing import load_tokenizer, pad_token


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float
    """0 takes the likeliest token."""
    top_p: float
    """Sample from the likeliest tokens that together have this probability."""
    repetition_penalty: float
    """Above 1, tokens already seen become less likely."""
    max_new_tokens: int
    """Stop after so many tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the model said."""

    text: str
    stopped: Literal["eos", "length"]
    """Whether it ended by itself or was cut."""
    seconds: float
    num_tokens: int


class ChatModel:
    """A model folder, loaded to answer.

    Raises:
        InputError: If the folder is unsafe or has no chat template.
        ArtifactError: If an adapter does not belong to the model.
    """

    def __init__(
        self,
        folder: Path,
        *,
        adapter: Path | None = None,
        precision: str = "auto",
        device: Device = "auto",
        trust_remote_code: bool = False,
    ) -> None:
        self.device = resolve_device(device)
        dtype = resolve_dtype(precision) if self.device == "cuda" else torch.float32
        self.tokenizer: Any = _tokenizer(folder, adapter, trust_remote_code=trust_remote_code)
        require_template(self.tokenizer, folder)
        if adapter is None:
            model = load_model(folder, dtype=dtype, trust_remote_code=trust_remote_code)
        else:
            base = adapter_base(adapter, folder, trust_remote_code=trust_remote_code)
            model = load_merged(adapter, base, dtype=dtype, trust_remote_code=trust_remote_code)
        self.model: Any = model.to(self.device)  # pyright: ignore[reportArgumentType]
        self.end_ids = _end_ids(self.tokenizer, model)
        self.context = int(getattr(model.config, "max_position_embeddings", 0)) or None

    def answer(
        self, messages: Sequence[Message], sampling: Sampling, *, on_text: Callable[[str], None] | None = None
    ) -> Answer:
        """Return the next message; ``on_text`` gets it piece by piece as it grows.

        Raises:
            InputError: If the conversation leaves no room in the model's context.
        """
        ids = prompt_ids(self.tokenizer, messages)
        room = sampling.max_new_tokens
        if self.context is not None:
            room = min(room, self.context - len(ids))
        if room <= 0:
            raise InputError(
                f"the conversation is {len(ids)} tokens long and the model's context is {self.context}: shorten it, or "
                "start anew."
            )
        start = time.monotonic()
        streamer = _Pieces(self.tokenizer, on_text) if on_text else None
        input_ids_BT = torch.tensor([ids], device=self.device)
        with torch.inference_mode():
            output_BT = self.model.generate(
                input_ids=input_ids_BT,
                attention_mask=torch.ones_like(input_ids_BT),
                streamer=streamer,
                eos_token_id=self.end_ids,
                pad_token_id=pad_token(self.tokenizer),
                **_settings(sampling, room),
            )
        new = output_BT[0, len(ids) :].tolist()
        ended = bool(new) and new[-1] in self.end_ids
        return Answer(
            text=self.tokenizer.decode(new, skip_special_tokens=True).strip(),
            stopped="eos" if ended else "length",
            seconds=round(time.monotonic() - start, 3),
            num_tokens=len(new),
        )


class _Pieces(TextStreamer):
    """Hands on finished text; transformers holds back words and characters that are not yet whole."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.on_text(text + "\n" if stream_end else text)


def _tokenizer(folder: Path, adapter: Path | None, *, trust_remote_code: bool) -> Any:
    """Return the model's tokenizer; its template is the adapter's, if the adapter has one."""
    home = adapter if adapter and (adapter / "tokenizer.json").is_file() else folder
    tokenizer: Any = load_tokenizer(home, trust_remote_code=trust_remote_code)
    if adapter and (adapter / TEMPLATE_FILE).is_file():
        tokenizer.chat_template = (adapter / TEMPLATE_FILE).read_text(encoding="utf-8")
    return tokenizer


def _end_ids(tokenizer: Any, model: Any) -> list[int]:
    """Return every id that ends an answer: many chat models end a turn with another token than a document."""
    configured = model.generation_config.eos_token_id
    named = configured if isinstance(configured, list) else [configured]
    return sorted({int(i) for i in [tokenizer.eos_token_id, *named] if i is not None})


def _settings(sampling: Sampling, max_new_tokens: int) -> dict[str, Any]:
    chosen: dict[str, Any] = {"do_sample": sampling.temperature > 0}
    if sampling.temperature > 0:
        chosen |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return {
        **chosen,
        "repetition_penalty": sampling.repetition_penalty,
        "max_new_tokens": max_new_tokens,
    }
