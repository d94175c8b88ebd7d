"""The extended vocabulary as a SentencePiece model."""

from collections.abc import Sequence
from typing import Any

from tokenizer.base import CONTROL, NORMAL, UNUSED, USER_DEFINED, Base


def extended_proto(base: Base, new_pieces: Sequence[str], scores: Sequence[float] | None = None) -> Any:
    """Return the base's ``ModelProto`` with its added tokens and the new pieces appended.

    Base ids stay. Tokens that the base added beside its SentencePiece model become pieces of it at the ids they
    had, so that the new ones can follow. New scores continue the base's ranks: a score of 0 would outrank
    every English merge, and `min(score) - k` would start at LLaMA's -1e9, where float32 makes neighbours equal.

    Args:
        base: What is extended.
        new_pieces: In order of id.
        scores: Of the new pieces, where they do not continue the base's ranks; may be longer.
    """
    proto = type(base.proto)()
    proto.CopyFrom(base.proto)
    added = {token.id: token for token in base.added_tokens}
    for i in range(len(proto.pieces), base.num_tokens):
        token = added.get(i)
        if token is None:
            proto.pieces.add(piece=f"<unused {i}>", score=0.0, type=UNUSED)
        else:
            kind = CONTROL if token.options.get("special", False) else USER_DEFINED
            proto.pieces.add(piece=token.content, score=0.0, type=kind)
    first = base.next_score
    for rank, piece in enumerate(new_pieces):
        proto.pieces.add(piece=piece, score=first - rank if scores is None else scores[rank], type=NORMAL)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return proto


def without_dummy_prefix(proto: Any) -> Any:
    """Return a copy that does not put a space before the text, to see how a bare piece is tokenized."""
    bare = type(proto)()
    bare.CopyFrom(proto)
    bare.normalizer_spec.add_dummy_prefix = False
    return bare
