"""Spans: stretches of token ids of which a tail is scored, cut from documents by a sliding window.

The one rule for the start of a document: it is conditioned on the tokenizer's bos token (eos for families without a
bos), for every model alike, and only the first window holds it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Ids that a model reads at once; those from ``first_scored`` on are scored, each given all before it."""

    owner: int
    """Index of the document or choice the scores belong to."""
    ids: Sequence[int]
    """At most one context length of inputs, and the last target."""
    first_scored: int
    """Index into ``ids`` of the first scored token; at least 1."""

    @property
    def num_scored(self) -> int:
        """Tokens that are scored."""
        return len(self.ids) - self.first_scored


def document_spans(owner: int, ids: Sequence[int], *, length: int, stride: int) -> Iterator[Span]:
    """Cut a document into windows so that each of its tokens is scored exactly once.

    Args:
        owner: The document's index.
        ids: The context token followed by the document's tokens.
        length: Inputs a model reads at once, in tokens.
        stride: Tokens newly scored by each window after the first, at most ``length``. All but the first ``length``
            tokens of a document have at least ``length - stride`` tokens of context.
    """
    stop = 1
    while stop < len(ids):
        first_scored = stop
        stop = min(len(ids), stop + (length if stop == 1 else stride))
        begin = max(0, stop - 1 - length)
        yield Span(owner, ids[begin:stop], first_scored - begin)
