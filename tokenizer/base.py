"""What is to be extended: a vocabulary of some family, its added tokens and, for a model folder, its configuration."""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hanlm.errors import InputError
from tokenizer.added_tokens import AddedToken
from tokenizer.config_ids import ids_in
from tokenizer.forms import Forms
from tokenizer.pieces import Pieces
from tokenizer.start import Start


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
    cut: re.Pattern[str] | None = None
    """Matches the added tokens that may stand within a run of Chinese."""

    @property
    def ids_named(self) -> list[int]:
        """The ids that the model's configuration gives a meaning: none may go to a new token, or be dropped."""
        config = self.config or {}
        return [token for token in ids_in(config) if token < config.get("vocab_size", 0)]

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """The ids in use, added tokens among them."""

    @property
    @abstractmethod
    def scores(self) -> dict[str, float]:
        """Score of every mergeable piece: the larger merges first."""

    @property
    @abstractmethod
    def next_score(self) -> float:
        """The score that continues the base's ranks."""

    def segments(self, text: str, pieces: Pieces) -> list[str]:
        """Return the strings of a text inside which new pieces may be formed, as the vocabulary spells them.

        No piece reaches into an added token, and none is equal to one: it could never be produced.
        """
        parts = [text] if self.cut is None else self.cut.split(text)
        return [segment for part in parts for segment in self._segments(part, pieces)]

    @abstractmethod
    def _segments(self, text: str, pieces: Pieces) -> list[str]:
        """Return the segments of a text that holds no added token."""

    @abstractmethod
    def plain(self, segment: str) -> str:
        """Return a segment as plain text."""

    @abstractmethod
    def num_chars(self, segment: str) -> int:
        """Return how many characters a segment's plain text has."""

    @abstractmethod
    def start(
        self,
        segments: Mapping[str, int],
        held_out: Sequence[Sequence[str]],
        pieces: Pieces,
        num_new: int,
        num_pairs: int | None = None,
    ) -> Start:
        """Return where learning begins: weighted segments, and those that are measured on, in the base's tokens.

        With ``num_pairs`` segments may be cut at all but the so many most frequent pairs of characters.
        """

    @abstractmethod
    def parts(self) -> dict[int, set[int]]:
        """Return, for each token that merges make, the tokens that any merge makes it from."""

    @abstractmethod
    def without(self, dropped: Collection[int]) -> Self:
        """Return the base without some of its tokens; those that stay move up and keep their order."""

    @abstractmethod
    def forms(self, workers: int = 1) -> Forms:
        """Return the base's own tokenizer."""

    @abstractmethod
    def extended(self, pieces: Sequence[str], workers: int = 1) -> Forms:
        """Return the tokenizer with new pieces, in order of id, ranked after the base's."""


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
