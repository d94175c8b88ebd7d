"""A SentencePiece tokenizer in both its forms: its ``ModelProto``, and the ``tokenizer.json`` that spells it out."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizer.base import Base
from tokenizer.encode import Fast, SentencePiece
from tokenizer.fast import fast_tokenizer
from tokenizer.forms import Encoder, Forms
from tokenizer.json_file import write_json
from tokenizer.merging import last_parts
from tokenizer.pieces import NEWLINE, SPACE
from tokenizer.proto import BYTE, NORMAL
from tokenizer.spelling import piece_bytes
from tokenizer.spm_proto import without_dummy_prefix


class SpmForms(Forms):
    """A ``ModelProto`` and the ``tokenizer.json`` that spells it out."""

    def __init__(self, base: Base, proto: Any, workers: int) -> None:
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
