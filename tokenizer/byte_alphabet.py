"""Bytes as byte-level BPE spells them, and which bytes can only be Chinese.

GPT-2's alphabet writes each of the 256 bytes as one printable character: Latin-1's printable ones stand for
themselves, the others are U+0100 and onward, in order.
"""

from collections.abc import Container
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from tokenizer.pieces import STRONG, class_table, has_strong

RARE_BYTES: Final = frozenset(
    (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 0x100))
)
"""Bytes that a base may lack: of control characters, of no UTF-8, of planes without characters. SmolLM2, whose alphabet
is of the bytes that its text had, lacks 21."""

_PRINTABLE: Final = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))


@cache
def byte_of_char() -> dict[int, int]:
    """Return code point of the alphabet -> byte."""
    others = [byte for byte in range(256) if byte not in _PRINTABLE]
    return {byte: byte for byte in _PRINTABLE} | {0x100 + i: byte for i, byte in enumerate(others)}


@cache
def _char_of_byte() -> dict[int, int]:
    return {byte: char for char, byte in byte_of_char().items()}


@cache
def _latin_of_char() -> dict[int, int]:
    """Return code point -> byte, or what is beyond Latin-1 where it stands for none."""
    return dict.fromkeys(range(0x100), 0x100) | byte_of_char()


def spelled(data: bytes) -> str:
    """Return bytes in the alphabet."""
    return data.decode("latin-1").translate(_char_of_byte())


def missing_bytes(vocabulary: Container[str]) -> list[int]:
    """Return the bytes for which a vocabulary has no token."""
    return [byte for byte in range(256) if spelled(bytes([byte])) not in vocabulary]


def bytes_of(spelling: str) -> bytes | None:
    """Return the bytes that a string of the alphabet spells; None if it is none (an added token)."""
    try:
        return spelling.translate(_latin_of_char()).encode("latin-1")
    except UnicodeEncodeError:
        return None


@cache
def strong_chars() -> npt.NDArray[np.bool_]:
    """Return, for each code point up to U+FFFF, whether it is strong under any choice of pieces."""
    return class_table("han+punct")[:0x10000] == STRONG


def is_strong(data: bytes) -> bool:
    """Say whether bytes can stand only in text with a Chinese character or CJK punctuation.

    They hold such a character whole, or end in bytes that only such characters begin with.
    """
    if has_strong(data.decode("utf-8", "ignore")):
        return True
    opened = unfinished(data)
    if len(opened) == 1 and opened[0] >> 4 == 0xE:
        first = (opened[0] & 0x0F) << 12
        return bool(strong_chars()[first : first + 0x1000].all())
    if len(opened) == 2 and opened[0] >> 4 == 0xE:
        first = (opened[0] & 0x0F) << 12 | (opened[1] & 0x3F) << 6
        return bool(strong_chars()[first : first + 64].all())
    return False


def unfinished(data: bytes) -> bytes:
    """Return the bytes at the end that begin a character and do not finish it."""
    for size in range(1, min(3, len(data)) + 1):
        lead = data[-size]
        if lead >= 0xC0:
            needs = 2 + (lead >= 0xE0) + (lead >= 0xF0)
            return data[-size:] if size < needs else b""
        if lead < 0x80:
            return b""
    return b""


def continuation(data: bytes) -> bytes:
    """Return the continuation bytes, at most two, that bytes begin with."""
    size = 0
    while size < min(2, len(data)) and 0x80 <= data[size] < 0xC0:
        size += 1
    return data[:size]
