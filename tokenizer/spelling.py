"""What each token spells, in bytes, whatever the family of its tokenizer, and how bytes are shown to a reader."""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tokenizer.byte_alphabet import bytes_of
from tokenizer.newline import NEWLINE_BYTE
from tokenizer.pieces import NEWLINE, SPACE
from tokenizer.proto import BYTE

_BYTE_PIECE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_RAW: Final = re.compile("([\udc80-\udcff]+)")
"""Bytes that are no whole character, as Python's ``surrogateescape`` writes them."""
_SIGNS: Final = {" ": "␣", "\n": "↵", "\t": "⇥"}


def piece_bytes(piece: Any) -> bytes:
    """Return what a piece of a SentencePiece model spells; pieces that are no text spell their own names."""
    text: str = piece.piece
    return _byte(text) if piece.type == BYTE else text.replace(SPACE, " ").encode()


def fast_spelling(contents: Mapping[str, Any], vocabulary: Mapping[str, int]) -> dict[int, bytes]:
    """Return id -> bytes of a ``tokenizer.json``: byte-level, with byte fallback, or of plain characters.

    Args:
        contents: What the file holds.
        vocabulary: Piece -> id, added tokens among them.
    """
    added = {token["content"] for token in contents.get("added_tokens") or ()}
    kinds = _types(contents.get("pre_tokenizer")) | _types(contents.get("decoder"))
    has_bytes = bool((contents.get("model") or {}).get("byte_fallback"))

    def spell(piece: str) -> bytes:
        if piece in added:
            return piece.encode()
        if "ByteLevel" in kinds:
            return bytes_of(piece) or piece.encode()
        if has_bytes and _BYTE_PIECE.fullmatch(piece):
            return _byte(piece)
        piece = piece.replace(NEWLINE_BYTE, NEWLINE) if has_bytes else piece
        piece = piece.removeprefix("##") if "WordPiece" in kinds else piece
        return piece.replace(SPACE, " ").encode()

    return {i: spell(piece) for piece, i in vocabulary.items()}


def shown(spelled: bytes) -> str:
    """Return bytes as a reader sees them: ``␣`` for a space, ``‹E4 BD›`` for bytes that are no whole character.

    Characters that have no picture of their own (controls, zero-width and bidirectional signs, private use) are
    named by their code point, so that no token is invisible or turns the text around it.
    """
    parts = _RAW.split(spelled.decode("utf-8", "surrogateescape"))  # text, bytes, text, bytes, … text
    return "".join(f"‹{_hexadecimal(part)}›" if i % 2 else "".join(map(_sign, part)) for i, part in enumerate(parts))


def is_text(spelled: bytes) -> bool:
    """Say whether bytes are whole characters."""
    return not _RAW.search(spelled.decode("utf-8", "surrogateescape"))


def together(ids: Iterable[int], spelling: Mapping[int, bytes]) -> list[tuple[str, list[int]]]:
    """Cut ids into the shortest runs that spell whole characters; returns (shown text, ids) each."""
    runs: list[tuple[str, list[int]]] = []
    run: list[int] = []
    for i in ids:
        run.append(i)
        spelled = b"".join(spelling[j] for j in run)
        if not _is_unfinished(spelled):
            runs.append((shown(spelled), run))
            run = []
    return [*runs, *((shown(spelling[i]), [i]) for i in run)]


def _is_unfinished(spelled: bytes) -> bool:
    """Whether bytes end within a character, so that the next token may complete it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(spelled, final=False)
    except UnicodeDecodeError:
        return False
    return bool(decoder.getstate()[0])


def _sign(char: str) -> str:
    if char in _SIGNS:
        return _SIGNS[char]
    is_plain = unicodedata.category(char)[0] in "LMNPS"
    return char if is_plain else f"‹U+{ord(char):04X}›"


def _hexadecimal(escaped: str) -> str:
    return escaped.encode("ascii", "surrogateescape").hex(" ").upper()


def _byte(piece: str) -> bytes:
    match = _BYTE_PIECE.fullmatch(piece)
    return bytes.fromhex(match[1]) if match else piece.encode()


def _types(node: Any) -> set[str]:
    """Return the ``type`` of a component and of all within it."""
    if isinstance(node, Mapping):
        return {str(node.get("type"))}.union(*map(_types, node.values()))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(node, Sequence) and not isinstance(node, str):
        return set[str]().union(*map(_types, node))  # pyright: ignore[reportUnknownArgumentType]
    return set()
