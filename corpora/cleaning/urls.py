"""Bare web addresses."""

import re
from typing import Final

from corpora.cleaning.code import outside_code

# What an address may hold; a dot, comma or bracket at its end belongs to the sentence.
_URL: Final = re.compile(
    r"[ \t]?(?:https?://|ftp://|(?<![\w.-])www\.)[A-Za-z0-9\-._~:/?#@!$&'*+,;=%]*[A-Za-z0-9\-_~/#@$&*+=%]",
    re.IGNORECASE,
)


def remove_urls(text: str) -> str:
    """Return the text without bare web addresses and the blank before them; those in code stay."""
    if "://" not in text and "www." not in text.lower():
        return text
    return outside_code(text, lambda prose: _URL.sub("", prose))
