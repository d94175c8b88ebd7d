"""What is to be extended: a vocabulary of some family, its added tokens and, for a model folder, its configuration."""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from hanlm.errors import InputError
from tokenizer.forms import Forms
from tokenizer.pieces import Pieces
from tokenizer.start import Start


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token outside the learned vocabulary: it is cut out of the text before anything else."""

    id: int
    content: str
    options: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """``special``, ``lstrip``, ``rstrip``, ``normalized``, ``single_word``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base(ABC):
    """A base of any family; its subclasses know how the family spells text, and how it is extended."""

    path: Path
    added_tokens: list[AddedToken]
    """In order of id."""
    special_tokens: dict[str, Any]
    """Role (``bos_token`` …) -> token, as in ``special_tokens_map.json``."""
    tokenizer_config: dict[str, Any]
    post_processor: dict[str, Any] | None
    config: dict[str, Any] | None
    """The model's ``config.json``; None where there is only a tokenizer."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """The ids in use, added tokens among them."""

    @abstractmethod
    def segments(self, text: str, pieces: Pieces) -> list[str]:
        """Return the strings of a text inside which new pieces may be formed, as the vocabulary spells them."""

    @abstractmethod
    def plain(self, segment: str) -> str:
        """Return a segment as plain text."""

    @abstractmethod
    def start(
        self, segments: Mapping[str, int], held_out: Sequence[Sequence[str]], pieces: Pieces, num_new: int
    ) -> Start:
        """Return where learning begins: weighted segments, and those that are measured on, in the base's tokens."""

    @abstractmethod
    def parts(self) -> dict[int, set[int]]:
        """Return, for each token that merges make and that may be dropped, the tokens it is made from by any merge."""

    @abstractmethod
    def without(self, dropped: Collection[int]) -> Self:
        """Return the base without some of its tokens; those that stay move up and keep their order."""

    @abstractmethod
    def forms(self, workers: int = 1) -> Forms:
        """Return the base's own tokenizer."""

    @abstractmethod
    def extended(self, pieces: Sequence[str], workers: int = 1) -> Forms:
        """Return the tokenizer with new pieces, in order of id, ranked after the base's."""


def added_tokens_of(
    known: Mapping[int, AddedToken], listed: dict[str, Any], fast: dict[str, Any], tokenizer_config: dict[str, Any]
) -> list[AddedToken]:
    """Collect added tokens from wherever a base keeps them, in order of id.

    Args:
        known: Those of the vocabulary itself.
        listed: ``added_tokens.json``.
        fast: ``tokenizer.json``, which is right where the files differ in a token's options.
        tokenizer_config: ``tokenizer_config.json``.
    """
    found = dict(known)
    found |= {i: AddedToken(i, content, {"special": True}) for content, i in listed.items()}
    decoder = tokenizer_config.get("added_tokens_decoder", {})
    entries = [{"id": int(i), **entry} for i, entry in decoder.items()] + fast.get("added_tokens", [])
    for entry in entries:
        options = {k: v for k, v in entry.items() if isinstance(v, bool)}
        found[entry["id"]] = AddedToken(entry["id"], entry["content"], options)
    return [found[i] for i in sorted(found)]


def check_size(base: Base) -> None:
    """Refuse a model with fewer rows than its tokenizer has tokens."""
    if base.config is None:
        return
    rows = base.config.get("vocab_size")
    if not isinstance(rows, int):
        raise InputError(f"{base.path}/config.json names no vocab_size; expected a causal language model.")
    if rows < base.num_tokens:
        raise InputError(
            f"{base.path}: the tokenizer has {base.num_tokens} tokens but the model only {rows} rows; expected a row "
            "for every token: call resize_token_embeddings on the model, or take the tokenizer it was trained with."
        )


def read_json(folder: Path | None, name: str) -> dict[str, Any]:
    """Return the object in a file of the base; empty where there is no such file."""
    if folder is None:
        return {}
    path = folder / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); restore it from its source.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} should hold a JSON object; restore it from its source.")
    return value  # pyright: ignore[reportUnknownVariableType]
