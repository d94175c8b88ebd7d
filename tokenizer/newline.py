"""The newline inside pieces: SentencePiece merges it like any character, the fast tokenizer knows it by its byte.

A LLaMA-like base has no piece for a newline alone; it is spelled by the byte token ``<0x0A>``. SentencePiece looks up
only the concatenation of two neighbours, so ``。`` and a newline become one piece although the newline itself is none.
Hugging Face's BPE starts from byte tokens there, so ``tokenizer.json`` spells the same piece ``。<0x0A>``. A text that
holds these letters literally never becomes that token: no merge makes ``<0x0A>`` out of letters.
"""

from collections.abc import Iterable
from typing import Any, Final

from tokenizer.pieces import NEWLINE
from tokenizer.proto import BYTE, NORMAL

NEWLINE_BYTE: Final = "<0x0A>"


def newline_joins(proto: Any, added_tokens: Iterable[str]) -> bool:
    """Say whether a newline may become part of a longer piece of a base.

    Not where it is cut out of the text before anything merges: as a user-defined piece or within an added token.
    """
    if any(NEWLINE in token for token in added_tokens):
        return False
    kinds = {p.piece: p.type for p in proto.pieces if NEWLINE in p.piece or p.piece == NEWLINE_BYTE}
    return all(kind in (NORMAL, BYTE) for kind in kinds.values()) and (NEWLINE in kinds or NEWLINE_BYTE in kinds)


def newline_as_byte(proto: Any) -> bool:
    """Say whether the fast form of a model spells newlines within pieces as ``<0x0A>``."""
    pieces = [p.piece for p in proto.pieces if p.type == NORMAL and NEWLINE in p.piece]
    return bool(pieces) and NEWLINE not in pieces


def with_newline_byte(piece: str) -> str:
    """Return a piece as a fast vocabulary spells it that has no newline."""
    return piece.replace(NEWLINE, NEWLINE_BYTE)
