"""SentencePiece BPE bases (LLaMA-1/2, Mistral, Yi, Baichuan-like): a ``tokenizer.model`` and its ``tokenizer.json``."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from tokenizer.added_tokens import own_tokens, token_fields
from tokenizer.base import Base, check_size
from tokenizer.encode import Fast, SentencePiece
from tokenizer.fast import fast_tokenizer
from tokenizer.forms import Encoder, Forms
from tokenizer.json_file import read_json, write_json
from tokenizer.merging import last_parts
from tokenizer.newline import newline_joins
from tokenizer.pieces import NEWLINE, SEPARATOR, SPACE, Pieces, class_table, has_strong, segments
from tokenizer.proto import BYTE, NORMAL, SPECIAL_TYPES, read_proto
from tokenizer.renumber import new_ids, renumbered
from tokenizer.spelling import piece_bytes
from tokenizer.spm_proto import extended_proto, without_dummy_prefix
from tokenizer.start import Start, start_from_characters

_LOWEST_RANK_SCORE: Final = -1e8
"""Scores below are no ranks: LLaMA gives -1e9 to runs of spaces, where float32 cannot tell neighbours apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpmBase(Base):
    """A SentencePiece BPE base."""

    proto: Any
    """SentencePiece's ``ModelProto``."""

    @property
    def num_tokens(self) -> int:
        return max(
            [len(self.proto.pieces), *(token.id + 1 for token in self.added_tokens), *(i + 1 for i in self.ids_named)]
        )

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """(piece, score) of every mergeable piece, best rank first."""
        pieces = [(p.piece, p.score) for p in self.proto.pieces if p.type == NORMAL]
        return sorted(pieces, key=lambda pair: -pair[1])

    @property
    def scores(self) -> dict[str, float]:
        return dict(self.ranked)

    @property
    def next_score(self) -> float:
        return min((score for _, score in self.ranked if score > _LOWEST_RANK_SCORE), default=0.0) - 1

    @property
    def newline_joins(self) -> bool:
        """Whether a newline may become part of a longer piece, even where only its byte is a token."""
        return newline_joins(self.proto, (token.content for token in self.added_tokens))

    def _segments(self, text: str, pieces: Pieces) -> list[str]:
        return segments(text, pieces)

    def plain(self, segment: str) -> str:
        return segment.replace(SPACE, " ")

    def num_chars(self, segment: str) -> int:
        return len(segment)

    def start(
        self,
        segments: Mapping[str, int],
        held_out: Sequence[Sequence[str]],
        pieces: Pieces,
        num_new: int,
        num_pairs: int | None = None,
    ) -> Start:
        known = {p.piece for p in self.proto.pieces if p.type == NORMAL and len(p.piece) == 1} - {NEWLINE}
        known |= {NEWLINE} if self.newline_joins else set[str]()
        longer = self._longer_pieces(pieces)
        return start_from_characters(segments, held_out, pieces, known, longer, num_new, num_pairs=num_pairs)

    def parts(self) -> dict[int, set[int]]:
        ids = {p.piece: i for i, p in enumerate(self.proto.pieces) if p.type == NORMAL}
        added = {token.id for token in self.added_tokens}
        return {i: set(_parts(piece, ids)) for piece, i in ids.items() if i not in added}

    def without(self, dropped: Collection[int]) -> "SpmBase":
        new_id = new_ids(self.num_tokens, dropped)
        proto = type(self.proto)()
        proto.CopyFrom(self.proto)
        del proto.pieces[:]
        proto.pieces.extend(p for i, p in enumerate(self.proto.pieces) if i in new_id)
        for role in ("unk_id", "bos_id", "eos_id", "pad_id"):
            setattr(proto.trainer_spec, role, new_id.get(getattr(proto.trainer_spec, role), -1))
        proto.trainer_spec.vocab_size = len(proto.pieces)
        return replace(self, proto=proto, **renumbered(self, new_id))

    def forms(self, workers: int = 1) -> "SpmForms":
        return self.extended((), workers)  # with the tokens added beside the model, as transformers has them

    def extended(self, pieces: Sequence[str], workers: int = 1, *, scores: Sequence[float] | None = None) -> "SpmForms":
        """Return the tokenizer with new pieces; ``scores`` where they do not continue the base's ranks."""
        added = {
            token.id: (token.content, token.options.get("special", False))
            for token in self.added_tokens
            if token.id >= len(self.proto.pieces)
        }
        first = self.next_score
        ranks = [first - rank for rank in range(len(pieces))] if scores is None else scores
        return SpmForms(self, extended_proto(self.proto, added, self.num_tokens, pieces, ranks), workers)

    def _longer_pieces(self, pieces: Pieces) -> list[str]:
        """Return the longer pieces that can occur in segments and outrank every new one, best first."""
        table, next_score = class_table(pieces), self.next_score
        return [
            piece
            for piece, score in self.ranked
            if len(piece) > 1 and score > next_score and all(table[ord(char)] != SEPARATOR for char in piece)
        ]


def _parts(piece: str, ids: Mapping[str, int]) -> Iterator[int]:
    """Yield the pieces that any merge makes a piece from; SentencePiece merges characters that are no pieces too."""
    for cut in range(1, len(piece)):
        halves = (piece[:cut], piece[cut:])
        if all(half in ids or len(half) == 1 for half in halves):
            yield from (ids[half] for half in halves if half in ids)


class SpmForms(Forms):
    """A ``ModelProto`` and the ``tokenizer.json`` that spells it out."""

    def __init__(self, base: SpmBase, proto: Any, workers: int) -> None:
        self._base, self.proto, self._workers = base, proto, workers

    @cached_property
    def fast(self) -> dict[str, Any]:
        """The contents of ``tokenizer.json``."""
        return fast_tokenizer(self._base, self.proto)

    @cached_property
    def main(self) -> Encoder:  # pyright: ignore[reportIncompatibleMethodOverride]
        return SentencePiece(self.proto, self._workers)

    @cached_property
    def _fast_form(self) -> Fast:
        return Fast(self.fast)

    @property
    def others(self) -> Mapping[str, Encoder]:
        return {"the fast tokenizer": self._fast_form}

    @property
    def num_tokens(self) -> int:
        return len(self.proto.pieces)

    def spelled(self, token: int) -> bytes:
        return piece_bytes(self.proto.pieces[token])

    def dead(self, first: int) -> list[int]:
        pieces = self._pieces(first)
        by_spm = self._bare_ids(pieces)
        fast = self._fast_form
        return [
            token
            for token, piece, ids in zip(range(first, first + len(pieces)), pieces, by_spm, strict=True)
            if ids != [token] or fast.encode_bare(piece) != [token]
        ]

    def merge_parents(self, first: int) -> list[list[int]]:
        """Return a piece's two parents, or the bytes of a character."""
        scores = {p.piece: p.score for p in self.proto.pieces if p.type == NORMAL}
        ids = {p.piece: i for i, p in enumerate(self.proto.pieces) if p.type == NORMAL}
        bytes_ = {int(p.piece[1:-1], 16): i for i, p in enumerate(self.proto.pieces) if p.type == BYTE}
        ids.setdefault(NEWLINE, bytes_[ord(NEWLINE)])
        parents: list[list[int]] = []
        for piece in self._pieces(first):
            if len(piece) == 1:
                parents.append([bytes_[byte] for byte in piece.encode()])
                continue
            # A bare space says nothing about the piece and would stand for half of it.
            parents.append([ids[part] for part in last_parts(piece, scores) if part != SPACE])
        return parents

    def spelled_by(self, base: Forms, first: int) -> list[list[int]]:
        assert isinstance(base, SpmForms)
        space = next((i for i, p in enumerate(base.proto.pieces) if p.piece == SPACE), None)
        spelled = base._bare_ids(self._pieces(first))
        return [[i for i in ids if i != space] or ids for ids in spelled]

    def write(self, folder: Path) -> None:
        (folder / "tokenizer.model").write_bytes(self.proto.SerializeToString())
        write_json(folder / "tokenizer.json", self.fast)

    def _pieces(self, first: int) -> list[str]:
        return [self.proto.pieces[i].piece for i in range(first, len(self.proto.pieces))]

    def _bare_ids(self, pieces: Sequence[str]) -> list[list[int]]:
        """Return what pieces are tokenized to without the space that is put before a text."""
        bare = SentencePiece(without_dummy_prefix(self.proto), self._workers)
        return bare.encode([piece.replace(SPACE, " ") for piece in pieces])


def read_spm_base(path: Path, folder: Path | None, config: dict[str, Any] | None) -> SpmBase:
    """Read a ``tokenizer.model`` and what stands beside it in a folder."""
    proto, fast = read_proto(path), read_json(folder, "tokenizer.json")
    path = folder or path
    _check_same_ids(path, proto, fast)
    ids = {p.piece: i for i, p in enumerate(proto.pieces)}
    base = SpmBase(path=path, proto=proto, config=config, **token_fields(path, folder, ids, fast, own_tokens(proto)))
    if not base.special_tokens:
        base = replace(base, special_tokens=_special_of_proto(proto))
    check_size(base)
    _check_ranks(base)
    return base


def _special_of_proto(proto: Any) -> dict[str, Any]:
    spec, names = proto.trainer_spec, {p.piece for p in proto.pieces if p.type in SPECIAL_TYPES}
    roles = {"unk": spec.unk_piece, "bos": spec.bos_piece, "eos": spec.eos_piece, "pad": spec.pad_piece}
    return {f"{role}_token": name for role, name in roles.items() if name in names}


def _check_ranks(base: SpmBase) -> None:
    """Refuse a base whose Chinese pieces share one score, as those that published merges appended do.

    Nothing can be ranked below them: SentencePiece and the fast tokenizer would differ on one text in ten.
    """
    scores = Counter(score for piece, score in base.ranked if len(piece) > 1 and has_strong(piece))
    score, num_equal = max(scores.items(), key=lambda pair: pair[1], default=(0.0, 0))
    if num_equal > max(1, scores.total() // 2):
        raise InputError(
            f"{base.path} was extended by a merge that gave {num_equal:,} Chinese pieces the same score ({score:g}), "
            "so new ones cannot be ranked after them; expected a score for each: extend the base it was made from."
        )


def _check_same_ids(path: Path, proto: Any, fast: dict[str, Any]) -> None:
    vocabulary: dict[str, int] = fast.get("model", {}).get("vocab", {})
    if vocabulary and any(vocabulary.get(p.piece, i) != i for i, p in enumerate(proto.pieces)):
        raise InputError(
            f"{path}: tokenizer.json and tokenizer.model give different ids to the same pieces; "
            "expected two forms of one tokenizer: restore both from the base's source."
        )
