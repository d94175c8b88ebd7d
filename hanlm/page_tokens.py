"""A text as its tokens on a report's page: each on a background of its own, its id a hover, a tap or a key away."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """One token as a reader sees it."""

    text: str
    hint: str = ""
    """Shown while the pointer is on the token, or the keyboard's focus."""
    note: str = ""
    """Shown beside the token, small."""
    is_bytes: bool = False
    """Whether the text stands for bytes that are no whole character."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spelled:
    """Several tokens that only together spell a text, which stands above them."""

    text: str
    tokens: Sequence[Token]


def tokens_html(label: str, parts: Iterable[Token | Spelled]) -> str:
    """Return one line of tokens under its label.

    Its first token with a hint can be reached with the tab key; from there the arrow keys go on, so that a page of a
    thousand tokens is no thousand stops of the tab key.
    """
    pieces = "".join(f"{_part(part)}&#8203;" for part in parts)
    pieces = pieces.replace('tabindex="-1"', 'tabindex="0"', 1)
    return f'<div class="pieces"><span class="label">{_escape(label)}</span><span class="line">{pieces}</span></div>'


def _part(part: Token | Spelled) -> str:
    if isinstance(part, Token):
        return _token(part)
    tokens = "".join(map(_token, part.tokens))
    return f'<ruby class="spelled"><span>{tokens}</span><rt>{_escape(part.text)}</rt></ruby>'


def _token(token: Token) -> str:
    hint = f' tabindex="-1" data-hint="{_escape(token.hint)}"' if token.hint else ""
    note = f'<span class="note">{_escape(token.note)}</span>' if token.note else ""
    kind = (" byte" if token.is_bytes else "") + (" noted" if token.note else "")
    return f'<span class="piece{kind}"{hint}>{_escape(token.text)}{note}</span>'


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
