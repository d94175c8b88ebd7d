"""Excerpts of texts on a report's page, with what differs between two of them marked."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

type Marked = Sequence[tuple[str, bool]]
"""A text in pieces, each with whether it is marked."""

_SIGNS: Final[Mapping[str, str]] = {" ": "␣", "\n": "↵\n", "\t": "⇥", "\r": "␍", "\u3000": "␣", "\xa0": "␣"}
_INVISIBLE = re.compile(
    "[\x00-\x20\x7f-\xa0\xad\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufe00-\ufe0f\ufeff]"
)
_SHORTEST_SAME = 2  # a lone character in common would tear a replaced word into crumbs


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """A text as a reader sees it, below what is said about it."""

    label: str
    text: str | Marked
    """A plain text scrolls where it is long, a marked one stands there whole."""


def differences(before: str, after: str, *, are_cut: bool = False) -> tuple[Marked, Marked]:
    """Return two texts with what only one of them has marked, invisible characters there shown as signs.

    Args:
        before: The one text.
        after: The other.
        are_cut: Whether both are the beginnings of longer texts: then what one of them has more at its end is no
            difference.
    """
    old: list[tuple[str, bool]] = []
    new: list[tuple[str, bool]] = []
    for is_same, (a, b), (c, d) in _blocks(before, after):
        is_end = are_cut and b == len(before) and d == len(after) and (a == b or c == d)
        for into, piece in ((old, before[a:b]), (new, after[c:d])):
            if piece:
                into.append((piece, False) if is_same or is_end else (visible(piece), True))
    return old, new


def visible(text: str) -> str:
    """Return a text with a sign in the place of each character that cannot be seen."""
    return _INVISIBLE.sub(lambda match: _SIGNS.get(match[0], f"\\u{ord(match[0]):04x}"), text)


def excerpts_html(excerpts: Sequence[Excerpt]) -> str:
    """Return excerpts beside each other; on a phone below each other."""
    return f'<div class="excerpts">{"".join(map(_one, excerpts))}</div>'


def _blocks(before: str, after: str) -> Sequence[tuple[bool, tuple[int, int], tuple[int, int]]]:
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    blocks: list[tuple[bool, tuple[int, int], tuple[int, int]]] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        is_same = tag == "equal" and (b - a >= _SHORTEST_SAME or a == 0 or b == len(before))
        if blocks and not is_same and not blocks[-1][0]:
            _, (first, _), (first_after, _) = blocks.pop()
            blocks.append((False, (first, b), (first_after, d)))
        else:
            blocks.append((is_same, (a, b), (c, d)))
    return blocks


def _one(excerpt: Excerpt) -> str:
    if isinstance(excerpt.text, str):
        body = f'<div class="short">{_escape(excerpt.text)}</div>'
    else:
        pieces = (f"<mark>{_escape(piece)}</mark>" if marked else _escape(piece) for piece, marked in excerpt.text)
        body = f"<div>{''.join(pieces)}</div>"
    return f'<div class="excerpt"><span class="label">{_escape(excerpt.label)}</span>{body}</div>'


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
