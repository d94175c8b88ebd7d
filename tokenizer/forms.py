"""One tokenizer in every form that is written: SentencePiece's model, ``tokenizer.json``, a rank file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tokenizer.spelling import shown


class Encoder(Protocol):
    """Texts to ids, and back."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, without bos and eos."""
        ...

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        ...


class Forms(ABC):
    """A base or extended tokenizer."""

    @property
    @abstractmethod
    def main(self) -> Encoder:
        """The form that the others are compared with."""

    @property
    @abstractmethod
    def others(self) -> Mapping[str, Encoder]:
        """Name -> every other form."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """The ids in use."""

    @abstractmethod
    def spelled(self, token: int) -> bytes:
        """Return what a token spells; bytes, since it may be part of a character. An added token spells its name."""

    @abstractmethod
    def dead(self, first: int) -> list[int]:
        """Return the tokens from ``first`` on that are not what their own text is tokenized to."""

    @abstractmethod
    def merge_parents(self, first: int) -> list[list[int]]:
        """Return, for each token from ``first`` on, the earlier ids that it is merged from."""

    @abstractmethod
    def spelled_by(self, base: "Forms", first: int) -> list[list[int]]:
        """Return, for each token from ``first`` on, the ids that the base spells its text with."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the vocabulary's files."""

    def spelling(self, token: int) -> str:
        """Return a token as people read it, see ``shown``."""
        return shown(self.spelled(token))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, without bos and eos."""
        return self.main.encode(texts)

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        return self.main.decode(ids)

    def count(self, texts: Sequence[str]) -> int:
        """Return how many tokens the texts have together."""
        return sum(map(len, self.encode(texts)))
