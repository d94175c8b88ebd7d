"""Simplified and traditional characters, by OpenCC."""

from functools import cache
from typing import Any


def to_simplified(text: str) -> str:
    """Return the text in simplified characters (OpenCC's ``t2s``)."""
    return _convert("t2s", text)


def to_traditional(text: str) -> str:
    """Return the text in traditional characters (OpenCC's ``s2t``)."""
    return _convert("s2t", text)


def _convert(configuration: str, text: str) -> str:
    # OpenCC reads UTF-8 up to the first NUL and knows no lone surrogates; neither survives the reader.
    return _converter(configuration).convert(text)


@cache
def _converter(configuration: str) -> Any:
    import opencc

    return opencc.OpenCC(configuration)
