"""Byte-level BPE bases (Llama-3, Qwen, SmolLM2, GPT-2, OPT, BLOOM, MiniMind): a ``tokenizer.json``."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenizer.added_tokens import entries_of
from tokenizer.base import Base
from tokenizer.byte_alphabet import bytes_of, missing_bytes, spelled
from tokenizer.byte_merges import Merge, extended_merges, ranked
from tokenizer.byte_start import start_from_bytes
from tokenizer.encode import Fast
from tokenizer.forms import Encoder, Forms
from tokenizer.json_file import write_json
from tokenizer.merging import last_parts
from tokenizer.pieces import Pieces, has_strong
from tokenizer.rank_file import write_rank_file
from tokenizer.renumber import new_ids, renumbered
from tokenizer.start import Start

_NO_CONTINUATION = dict.fromkeys(map(ord, spelled(bytes(range(0x80, 0xC0)))))
"""Deletes all but the first byte of each character."""


@dataclass(frozen=True, kw_only=True)
class ByteBase(Base):
    """A byte-level BPE base."""

    fast: dict[str, Any]
    """The contents of ``tokenizer.json``."""
    rank_file: str | None = None
    """Name of the tiktoken rank file that the result brings too."""
    pair_files: bool = False
    """Whether the base brings ``vocab.json`` and ``merges.txt``, which older tools read."""

    @cached_property
    def num_tokens(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        ids = [*self.fast["model"]["vocab"].values(), *(token.id for token in self.added_tokens), *self.ids_named]
        return max(ids) + 1

    @cached_property
    def merges(self) -> list[Merge]:
        """The base's merges, best rank first; files write them as pairs or as one string."""
        pairs = [m.split(" ", 1) if isinstance(m, str) else m for m in self.fast["model"]["merges"]]
        return [(left, right) for left, right in pairs]

    @cached_property
    def _ranked(self) -> list[str]:
        """The tokens that spell bytes, best rank first."""
        return ranked(self.fast["model"]["vocab"], self.merges)

    @property
    def scores(self) -> dict[str, float]:
        return {token: -float(rank) for rank, token in enumerate(self._ranked)}

    @property
    def next_score(self) -> float:
        return -float(len(self._ranked))

    def _segments(self, text: str, pieces: Pieces) -> list[str]:  # noqa: ARG002 (separators are found in the tokens)
        """Return the pre-tokens with a character that new tokens must hold, in the byte alphabet.

        One with a byte that the base lacks is left out: the base drops that byte, and nothing is merged across it.
        """
        words = self._own.main.words(text) if has_strong(text) else []
        return [word for word, part in words if has_strong(part) and self._lacking.isdisjoint(word)]

    @cached_property
    def _lacking(self) -> frozenset[str]:
        return frozenset(spelled(bytes(missing_bytes(self.fast["model"]["vocab"]))))

    def plain(self, segment: str) -> str:
        return (bytes_of(segment) or b"").decode("utf-8", "replace")

    def num_chars(self, segment: str) -> int:
        return len(segment.translate(_NO_CONTINUATION))

    def start(
        self,
        segments: Mapping[str, int],
        held_out: Sequence[Sequence[str]],
        pieces: Pieces,
        num_new: int,
        num_pairs: int | None = None,  # noqa: ARG002 - a token may end inside a character: rare pairs say nothing
    ) -> Start:
        vocabulary = self.fast["model"]["vocab"]
        rank = np.zeros(self.num_tokens, np.int32)
        rank[[vocabulary[token] for token in self._ranked]] = np.arange(len(self._ranked))

        def encode(words: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
            ids, lengths = self._own.main.encode_words(words)
            return rank[ids], lengths

        return start_from_bytes(segments, held_out, pieces, self._ranked, encode, num_new)

    @cached_property
    def _own(self) -> "ByteForms":
        return ByteForms(self, self.fast)

    def parts(self) -> dict[int, set[int]]:
        vocabulary = self.fast["model"]["vocab"]
        parts: dict[int, set[int]] = {}
        for left, right in self.merges:
            parts.setdefault(vocabulary[left + right], set()).update((vocabulary[left], vocabulary[right]))
        return parts

    def without(self, dropped: Collection[int]) -> "ByteBase":
        new_id, model = new_ids(self.num_tokens, dropped), self.fast["model"]
        vocabulary = {token: new_id[i] for token, i in model["vocab"].items() if i in new_id}
        merges = [[a, b] for a, b in self.merges if a + b in vocabulary and a in vocabulary and b in vocabulary]
        changed = renumbered(self, new_id)
        listed = entries_of(changed["added_tokens"])
        parts = {"model": model | {"vocab": vocabulary, "merges": merges}, "added_tokens": listed}
        return replace(self, fast=self.fast | parts | {"post_processor": changed["post_processor"]}, **changed)

    def forms(self, workers: int = 1) -> "ByteForms":  # noqa: ARG002 (extend tells the library)
        return self._own

    def extended(self, pieces: Sequence[str], workers: int = 1) -> "ByteForms":  # noqa: ARG002 (as above)
        model = self.fast["model"]
        held = {token.content: token.id for token in self.added_tokens}
        taken = {*model["vocab"].values(), *held.values()}
        gaps = {f"<unused {i}>": i for i in range(self.num_tokens) if i not in taken}
        new = {piece: i for i, piece in enumerate(pieces, self.num_tokens)}
        # Added tokens stand in the vocabulary too: the library would else number them anew, after the new ones.
        vocabulary = model["vocab"] | held | gaps | new
        merges = extended_merges(model["vocab"], self.merges, pieces)
        extended = {
            "added_tokens": entries_of(self.added_tokens),
            "model": model | {"vocab": vocabulary, "merges": merges},
        }
        return ByteForms(self, self.fast | extended)


class ByteForms(Forms):
    """The contents of a byte-level ``tokenizer.json``."""

    def __init__(self, base: ByteBase, fast: dict[str, Any]) -> None:
        self._base, self.fast = base, fast

    @cached_property
    def main(self) -> Fast:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Fast(self.fast)

    @property
    def others(self) -> Mapping[str, Encoder]:
        return {}

    @cached_property
    def _spellings(self) -> dict[int, str]:
        return {token: spelling for spelling, token in self.fast["model"]["vocab"].items()} | {
            token.id: token.content for token in self._base.added_tokens
        }

    @cached_property
    def _added_ids(self) -> frozenset[int]:
        return frozenset(token.id for token in self._base.added_tokens)

    @property
    def num_tokens(self) -> int:
        return max(self._spellings) + 1

    def spelled(self, token: int) -> bytes:
        spelling = self._spellings.get(token, f"<unused {token}>")
        data = None if token in self._added_ids else bytes_of(spelling)
        return spelling.encode() if data is None else data

    def dead(self, first: int) -> list[int]:
        return [token for token in range(first, self.num_tokens) if not self._is_alive(token)]

    def _is_alive(self, token: int) -> bool:
        spelling = self._spellings[token]
        if self.main.encode_bare(spelling) != [token]:
            return False
        try:
            text = (bytes_of(spelling) or b"").decode("utf-8")
        except UnicodeDecodeError:
            return True  # a part of a character: only the merges can be asked
        return [word for word, _ in self.main.words(text)] != [spelling] or self.main.encode([text]) == [[token]]

    def merge_parents(self, first: int) -> list[list[int]]:
        """Return the two tokens that each is merged from by ranks, or what the base spells it with."""
        model = self.fast["model"]
        tokens = ranked(model["vocab"], [(left, right) for left, right in model["merges"]])
        scores = {token: -float(rank) for rank, token in enumerate(tokens)}
        by_base = self.spelled_by(self._base.forms(), first)
        parents: list[list[int]] = []
        for token, spelled_ids in zip(range(first, self.num_tokens), by_base, strict=True):
            parts = last_parts(self._spellings[token], scores)
            parents.append([model["vocab"][part] for part in parts] if parts else spelled_ids)
        return parents

    def spelled_by(self, base: Forms, first: int) -> list[list[int]]:
        assert isinstance(base, ByteForms)
        ids, lengths = base.main.encode_words([self._spellings[token] for token in range(first, self.num_tokens)])
        return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])] if lengths.size else []

    def write(self, folder: Path) -> None:
        write_json(folder / "tokenizer.json", self.fast)
        model = self.fast["model"]
        if self._base.pair_files:
            write_json(folder / "vocab.json", model["vocab"])
            lines = "".join(f"{left} {right}\n" for left, right in model["merges"])
            (folder / "merges.txt").write_text("#version: 0.2\n" + lines, encoding="utf-8")
        if self._base.rank_file:
            special = {token.id for token in self._base.added_tokens}
            ranks = {token: i for token, i in model["vocab"].items() if i not in special}
            write_rank_file(folder / self._base.rank_file, ranks)
