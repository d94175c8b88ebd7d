"""The new pieces: learned from the corpus's segments and the prior's, or merged from another model."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hanlm.errors import InputError
from tokenizer.base import Base
from tokenizer.count import CorpusCount
from tokenizer.forms import Forms
from tokenizer.learn import WEIGHT_UNIT, Learned, learn
from tokenizer.merge import compatible_merge, merge
from tokenizer.pieces import Pieces
from tokenizer.prior import Prior, jieba_segments
from tokenizer.spm import SpmBase

MAX_UPWEIGHT: Final = 4.0
"""Most that a small domain's text counts beside the average."""

STEP: Final = 128
"""Sizes whose vocabulary in all is a multiple of this are noted: matrices of such sizes are multiplied fastest."""

_CURVE_SHARES = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """New pieces, best first, and the size curve of held-out text."""

    pieces: list[str]
    sizes: list[int]
    saved: npt.NDArray[np.int64]
    """[sizes, domains]: tokens saved on the held-out text of ``CorpusCount.held_out``, in its order."""
    gains: list[float] = field(default_factory=list[float])
    """Tokens that each learned piece saved when it was added."""
    left_out: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Reason -> pieces of a merged model that were not added."""
    scores: list[float] | None = None
    """SentencePiece's scores of the pieces, where they do not simply continue the base's ranks."""

    def on(self, base: Base, workers: int) -> Forms:
        """Return the base's tokenizer with these pieces."""
        if self.scores is None:
            return base.extended(self.pieces, workers)
        assert isinstance(base, SpmBase)
        return base.extended(self.pieces, workers, scores=self.scores)

    def cut(self, num_pieces: int) -> "Vocabulary":
        """Return the first pieces of a learned vocabulary, with as many sizes as a curve needs."""
        rows = sorted({bisect_right(self.sizes, size) - 1 for size in _sizes(num_pieces)} - {-1})
        return replace(
            self,
            pieces=self.pieces[:num_pieces],
            sizes=[self.sizes[row] for row in rows],
            saved=self.saved[rows],
            gains=self.gains[:num_pieces],
        )


def learn_vocabulary(
    base: Base, corpus: CorpusCount, pieces: Pieces, prior: Prior, num_new_tokens: int, *, exponent: float = 1.0
) -> Vocabulary:
    """Return up to ``num_new_tokens`` pieces, and what every ``STEP`` of them save.

    Args:
        base: What is extended.
        corpus: What is learned from, and measured on.
        pieces: What new pieces may hold.
        prior: Which lexicon counts beside the corpus.
        num_new_tokens: The budget.
        exponent: Of a domain's size, see ``weighted_segments``.

    Raises:
        InputError: If nothing is worth adding.
    """
    sizes = sorted({*_sizes(num_new_tokens), *range(-base.num_tokens % STEP or STEP, num_new_tokens, STEP)})
    weighted = weighted_segments(corpus.segments, exponent)
    if prior == "jieba":
        num_chars = sum(len(base.plain(segment)) * weight for segment, weight in weighted.items()) // WEIGHT_UNIT
        for word, weight in jieba_segments(num_chars).items():
            for segment in base.segments(word, pieces):
                weighted[segment] = weighted.get(segment, 0) + weight
    held_out = [[s for text in texts for s in base.segments(text, pieces)] for texts in corpus.held_out.values()]
    learned = learn(base.start(weighted, held_out, pieces, num_new_tokens), sizes=sizes)
    if not learned.pieces:
        raise InputError(
            f"{base.path} already has every piece that this corpus repeats; expected a corpus with more Chinese text."
        )
    return _curve(learned, sizes)


def no_vocabulary(num_domains: int) -> Vocabulary:
    """Return no pieces at all."""
    return Vocabulary([], [], np.zeros((0, num_domains), np.int64))


def weighted_segments(domains: Mapping[str, Mapping[str, int]], exponent: float) -> dict[str, int]:
    """Return segment -> weight in 1/WEIGHT_UNIT over all domains, which together weigh as much as they have characters.

    A domain of n characters gets a share in proportion to ``n ** exponent`` (as multilingual models sample languages),
    but its text never counts more than MAX_UPWEIGHT times: one page that calls itself a domain should not rule.
    """
    sizes = {name: sum(len(s) * count for s, count in found.items()) for name, found in domains.items()}
    shares = {name: size**exponent for name, size in sizes.items()}
    unit = sum(sizes.values()) / sum(shares.values())
    weighted: Counter[str] = Counter()
    for name, found in domains.items():
        factor = WEIGHT_UNIT * min(MAX_UPWEIGHT, unit * shares[name] / sizes[name])
        weighted.update({segment: max(1, round(count * factor)) for segment, count in found.items()})
    return dict(weighted)


def _sizes(num_new_tokens: int) -> list[int]:
    return sorted({max(1, round(num_new_tokens * share)) for share in _CURVE_SHARES})


def _curve(learned: Learned, sizes: Sequence[int]) -> Vocabulary:
    """Cut the curve where the corpus ran out of pieces."""
    found = len(learned.pieces)
    sizes = [size for size in sizes if size < found] + [found]
    return Vocabulary(learned.pieces, sizes, learned.saved[: len(sizes)], learned.gains)


def merge_vocabulary(
    base: SpmBase, corpus: CorpusCount, donor: Any, pieces: Pieces, *, compatible: bool, limit: int | None, workers: int
) -> Vocabulary:
    """Return the pieces of a SentencePiece model that the base lacks, and what they save on held-out text.

    Raises:
        InputError: If nothing is worth adding.
    """
    merged = compatible_merge(base, donor) if compatible else merge(base, donor, pieces, limit)
    scores = [0.0] * len(merged.pieces) if compatible else None
    sizes = _sizes(len(merged.pieces)) if corpus.held_out else []
    before = _counts(base.forms(workers), corpus)
    some = [(merged.pieces[:n], scores[:n] if scores else None) for n in sizes]
    saved = [before - _counts(base.extended(new, workers, scores=ranks), corpus) for new, ranks in some]
    return Vocabulary(
        merged.pieces,
        sizes,
        np.array(saved).reshape(len(sizes), len(corpus.held_out)),
        left_out=merged.left_out,
        scores=scores,
    )


def _counts(tokenizer: Forms, corpus: CorpusCount) -> npt.NDArray[np.int64]:
    return np.array([tokenizer.count(texts) for texts in corpus.held_out.values()], np.int64)
