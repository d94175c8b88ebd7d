"""SentencePiece BPE bases (LLaMA-1/2, Mistral, Yi, Baichuan-like): a ``tokenizer.model`` and its ``tokenizer.json``."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from tokenizer.added_tokens import own_tokens, token_fields
from tokenizer.base import Base, check_size
from tokenizer.json_file import read_json
from tokenizer.newline import newline_joins
from tokenizer.pieces import NEWLINE, SEPARATOR, SPACE, Pieces, class_table, has_strong, segments
from tokenizer.proto import NORMAL, SPECIAL_TYPES, read_proto
from tokenizer.renumber import new_ids, renumbered
from tokenizer.spm_forms import SpmForms
from tokenizer.spm_proto import extended_proto
from tokenizer.start import MAX_TOKEN_SYMBOLS, Start, start_from_characters

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
        return {i: set(_parts(piece, ids)) for piece, i in ids.items()}

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

    def forms(self, workers: int = 1) -> SpmForms:
        return self.extended((), workers)  # with the tokens added beside the model, as transformers has them

    def extended(self, pieces: Sequence[str], workers: int = 1, *, scores: Sequence[float] | None = None) -> SpmForms:
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
            if 1 < len(piece) <= MAX_TOKEN_SYMBOLS
            and score > next_score
            and all(table[ord(char)] != SEPARATOR for char in piece)
        ]


def _parts(piece: str, ids: Mapping[str, int]) -> Iterator[int]:
    """Yield the pieces that any merge makes a piece from; SentencePiece merges characters that are no pieces too."""
    for cut in range(1, len(piece)):
        halves = (piece[:cut], piece[cut:])
        if all(half in ids or len(half) == 1 for half in halves):
            yield from (ids[half] for half in halves if half in ids)


def read_spm_base(path: Path, folder: Path | None, config: dict[str, Any] | None) -> SpmBase:
    """Read a ``tokenizer.model`` and what stands beside it in a folder."""
    proto, fast = read_proto(path), read_json(folder, "tokenizer.json")
    path = folder or path
    _check_same_ids(path, proto, fast)
    ids = {p.piece: i for i, p in enumerate(proto.pieces)}
    base = SpmBase(path=path, proto=proto, config=config, **token_fields(path, folder, ids, fast, own_tokens(proto)))
    # Roles that no file names are the model's own; one that a file sets to null is meant to be none.
    own = {role: name for role, name in _special_of_proto(proto).items() if role not in base.tokenizer_config}
    base = replace(base, special_tokens=own | base.special_tokens)
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
