"""The extended vocabulary as a SentencePiece model."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizer.proto import CONTROL, NORMAL, UNUSED, USER_DEFINED


def extended_proto(
    proto: Any, added: Mapping[int, tuple[str, bool]], num_base: int, pieces: Sequence[str], scores: Sequence[float]
) -> Any:
    """Return a copy of a base's ``ModelProto`` with its added tokens and the new pieces appended.

    Base ids stay. Tokens that the base added beside its SentencePiece model become pieces of it at the ids they
    had, so that the new ones can follow.

    Args:
        proto: The base's.
        added: Id -> (content, whether special) of tokens beside the model.
        num_base: The base's ids in use; those that belong to no token become unused pieces.
        pieces: New ones in order of id.
        scores: Theirs. They continue the base's ranks: a score of 0 would outrank every English merge, and
            ``min(score) - k`` would start at LLaMA's -1e9, where float32 makes neighbours equal.
    """
    extended = type(proto)()
    extended.CopyFrom(proto)
    for i in range(len(proto.pieces), num_base):
        if i in added:
            content, is_special = added[i]
            extended.pieces.add(piece=content, score=0.0, type=CONTROL if is_special else USER_DEFINED)
        else:
            extended.pieces.add(piece=f"<unused {i}>", score=0.0, type=UNUSED)
    for piece, score in zip(pieces, scores, strict=True):
        extended.pieces.add(piece=piece, score=score, type=NORMAL)
    extended.trainer_spec.vocab_size = len(extended.pieces)
    return extended


def without_dummy_prefix(proto: Any) -> Any:
    """Return a copy that does not put a space before the text, to see how a bare piece is tokenized."""
    bare = type(proto)()
    bare.CopyFrom(proto)
    bare.normalizer_spec.add_dummy_prefix = False
    return bare
