"""Byte-pair merging of one piece's own text, as SentencePiece does it: the best score first, the left one in a tie."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import inf


def merge_steps(piece: str, scores: Mapping[str, float]) -> Iterator[list[str]]:
    """Yield the parts of a piece: its characters, and what they are after each merge until no two parts merge."""
    parts = list(piece)
    pairs = [scores.get(a + b, -inf) for a, b in pairwise(parts)]
    yield parts
    while pairs and (best := max(pairs)) > -inf:
        i = pairs.index(best)
        parts = [*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 :]]
        del pairs[i]
        for left in (i - 1, i):  # of all pairs only the neighbours of the new part have changed
            if 0 <= left < len(pairs):
                pairs[left] = scores.get(parts[left] + parts[left + 1], -inf)
        yield parts


def last_parts(piece: str, scores: Mapping[str, float]) -> list[str]:
    """Return the two pieces that a piece is merged from last; none where merging does not arrive at it."""
    steps = list(merge_steps(piece, scores))
    return steps[-2] if len(steps) > 1 and len(steps[-1]) == 1 else []


def is_reachable(piece: str, scores: Mapping[str, float]) -> bool:
    """Say whether merging a piece's own text ends in the piece."""
    return any(len(parts) == 1 for parts in merge_steps(piece, scores))
