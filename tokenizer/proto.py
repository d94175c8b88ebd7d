"""SentencePiece's ``ModelProto``, read from a file and checked."""

from pathlib import Path
from typing import Any

from hanlm.errors import InputError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Types of SentencePiece pieces."""
SPECIAL_TYPES = (UNKNOWN, CONTROL)
"""Of those, what transformers calls special tokens."""

_BPE = 2
_MODEL_TYPES = {1: "Unigram", 3: "word", 4: "character"}


def parse_proto(content: bytes) -> Any | None:
    """Return the ``ModelProto`` that bytes spell, or None where they spell no model."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        proto.ParseFromString(content)
    except DecodeError:
        return None
    return proto if proto.pieces else None


def read_proto(path: Path) -> Any:
    """Read a ``tokenizer.model`` and refuse what continued BPE cannot extend.

    Raises:
        InputError: If it is no SentencePiece model, or one of another kind than LLaMA's.
    """
    proto = parse_proto(path.read_bytes())
    if proto is None:
        raise InputError(f"{path} is no SentencePiece model and no tiktoken rank file; fetch it again.")
    if proto.trainer_spec.model_type != _BPE:
        kind = _MODEL_TYPES.get(proto.trainer_spec.model_type, "other")
        raise InputError(
            f"{path} is a SentencePiece {kind} model (as T5 and XLM-R have): its pieces compete, so new ones "
            "would change how old text is cut; expected BPE: pass a LLaMA-like or byte-level base."
        )
    if not proto.trainer_spec.byte_fallback:
        raise InputError(f"{path} has no byte fallback, so it loses characters; expected a base with all bytes.")
    normalizer = proto.normalizer_spec
    if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces or not normalizer.escape_whitespaces:
        raise InputError(
            f"{path} rewrites text before it tokenizes ({normalizer.name or 'white space removed'}), which would "
            "change Chinese punctuation; expected the identity normalizer, as LLaMA and Mistral have it."
        )
    # A gap that an earlier extension filled is called <unused N>: nothing merges into that.
    unused = any(p.type == UNUSED and not p.piece.startswith("<unused ") for p in proto.pieces)
    if proto.trainer_spec.treat_whitespace_as_suffix or unused:
        raise InputError(
            f"{path} uses suffix spaces or unused pieces, which cannot be extended; pass a LLaMA-like base."
        )
    return proto
