"""Simplified and traditional characters, by OpenCC."""

from functools import cache
from typing import Any


def to_simplified(text: str) -> str:
    """Return the text in simplified characters (OpenCC's ``t2s``)."""
    return _convert("t2s", text)


def to_traditional(text: str) -> str:
    """Return the text in traditional characters (OpenCC's ``s2t``).

    A text that is traditional already stays: to convert it again would break it, as 干擾 into 幹擾. It is so if going
    back to simplified would change at least as many characters.
    """
    converted = _convert("s2t", text)
    if converted == text:
        return text
    back = _convert("t2s", text)
    return text if _num_differences(text, back) >= _num_differences(text, converted) else converted


def _num_differences(text: str, other: str) -> int:
    return sum(a != b for a, b in zip(text, other, strict=False))


def _convert(configuration: str, text: str) -> str:
    # OpenCC reads UTF-8 up to the first NUL and knows no lone surrogates; neither survives the reader.
    return _converter(configuration).convert(text)


@cache
def _converter(configuration: str) -> Any:
    import opencc

    return opencc.OpenCC(configuration)
