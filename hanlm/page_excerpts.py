"""Excerpts of texts on a report's page, with what differs between two of them marked."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

type Marked = Sequence[tuple[str, bool]]
"""A text in pieces, each with whether it is marked."""

_SIGNS: Final[Mapping[str, str]] = {" ": "␣", "\n": "↵\n", "\t": "⇥"}
_INVISIBLE = re.compile(
    "[\x00-\x20\x7f-\xa0\xad\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufe00-\ufe0f\ufeff]"
)
_CONTEXT_CHARS = 50
_MARKED_CHARS = 200
_MAX_CHANGES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """A text as a reader sees it, below what is said about it."""

    label: str
    text: str | Marked
    """A plain text scrolls where it is long, a marked one stands there whole."""


def differences(before: str, after: str, *, are_cut: bool = False) -> tuple[Marked, Marked]:
    """Return two texts with what only one of them has marked, invisible characters there shown as signs.

    Long stretches that are the same, or that are gone altogether, are shortened, and only the first changes are shown.

    Args:
        before: The one text.
        after: The other.
        are_cut: Whether both are the beginnings of longer texts: then what differs at their ends is no difference.
    """
    blocks = _blocks(before, after)
    if are_cut and len(blocks) > 1 and not blocks[-1][0]:
        blocks = blocks[:-1]
    shown = blocks[: 2 * _MAX_CHANGES]
    old: list[tuple[str, bool]] = []
    new: list[tuple[str, bool]] = []
    for number, (is_same, (a, b), (c, d)) in enumerate(shown):
        if is_same:
            same = _context(before[a:b], is_first=number == 0, is_last=number == len(shown) - 1)
            old.append((same, False))
            new.append((same, False))
            continue
        for into, piece in ((old, before[a:b]), (new, after[c:d])):
            if piece:
                into.append((_shortened(piece), True))
    return old, new


def visible(text: str) -> str:
    """Return a text with a sign in the place of each character that cannot be seen."""
    return _INVISIBLE.sub(lambda match: _SIGNS.get(match[0], f"\\u{ord(match[0]):04x}"), text)


def excerpts_html(excerpts: Sequence[Excerpt]) -> str:
    """Return excerpts beside each other; on a phone below each other."""
    return f'<div class="excerpts">{"".join(map(_one, excerpts))}</div>'


def _blocks(before: str, after: str) -> list[tuple[bool, tuple[int, int], tuple[int, int]]]:
    """Return stretches that are the same and stretches that differ, in turn, with where they stand in both texts."""
    blocks: list[tuple[bool, tuple[int, int], tuple[int, int]]] = []
    opcodes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for number, (tag, a, b, c, d) in enumerate(opcodes):
        # A lone character in common would tear a replaced word into crumbs.
        beside = {opcode[0] for opcode in opcodes[max(0, number - 1) : number + 2]}
        is_same = tag == "equal" and (b - a > 1 or "replace" not in beside)
        if blocks and not is_same and not blocks[-1][0]:
            _, (first, _), (first_after, _) = blocks.pop()
            blocks.append((False, (first, b), (first_after, d)))
        else:
            blocks.append((is_same, (a, b), (c, d)))
    return blocks


def _context(text: str, *, is_first: bool, is_last: bool) -> str:
    """Return what stands next to a change; what is far from any goes."""
    if is_first and is_last:
        return text
    head = "" if is_first else text[:_CONTEXT_CHARS]
    tail = "" if is_last else text[-_CONTEXT_CHARS:]
    return text if len(text) <= len(head) + len(tail) else f"{head}…{tail}"


def _shortened(text: str) -> str:
    """Return a marked text with signs for what cannot be seen, and without the middle where it is long."""
    left = len(text) - _MARKED_CHARS
    if left <= _CONTEXT_CHARS:
        return visible(text)
    half = _MARKED_CHARS // 2
    return f"{visible(text[:half])} [… {left:,} characters …] {visible(text[-half:])}"


def _one(excerpt: Excerpt) -> str:
    if isinstance(excerpt.text, str):
        body = f'<div class="short">{_escape(excerpt.text)}</div>'
    else:
        pieces = (f"<mark>{_escape(piece)}</mark>" if marked else _escape(piece) for piece, marked in excerpt.text)
        body = f"<div>{''.join(pieces)}</div>"
    return f'<div class="excerpt"><span class="label">{_escape(excerpt.label)}</span>{body}</div>'


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
