"""The new pieces: learned from the corpus's segments and the prior's, or merged from another model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hanlm.errors import InputError
from tokenizer.base import NORMAL, Base
from tokenizer.count import CorpusCount
from tokenizer.encode import SentencePiece
from tokenizer.learn import WEIGHT_UNIT, Learned, learn
from tokenizer.merge import compatible_merge, merge
from tokenizer.pieces import SEPARATOR, Pieces, class_table, segments
from tokenizer.prior import Prior, jieba_segments
from tokenizer.spm import extended_proto

MAX_UPWEIGHT: Final = 4.0
"""Most that a small domain's text counts beside the average."""

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


def learn_vocabulary(
    base: Base, corpus: CorpusCount, pieces: Pieces, prior: Prior, num_new_tokens: int, *, exponent: float = 1.0
) -> Vocabulary:
    """Return up to ``num_new_tokens`` pieces.

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
    weighted = weighted_segments(corpus.segments, exponent)
    if prior == "jieba":
        num_chars = sum(len(segment) * weight for segment, weight in weighted.items()) // WEIGHT_UNIT
        for word, weight in jieba_segments(num_chars).items():
            weighted[word] = weighted.get(word, 0) + weight
    learned = learn(
        weighted,
        pieces=pieces,
        known_chars={p.piece for p in base.proto.pieces if p.type == NORMAL and len(p.piece) == 1},
        base_pieces=base_pieces(base, pieces),
        sizes=_sizes(num_new_tokens),
        held_out=[[s for text in texts for s in segments(text, pieces)] for texts in corpus.held_out.values()],
    )
    if not learned.pieces:
        raise InputError(
            f"{base.path} already has every piece that this corpus repeats; expected a corpus with more Chinese text."
        )
    return _curve(learned, num_new_tokens)


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


def base_pieces(base: Base, pieces: Pieces) -> list[str]:
    """Return the base's longer pieces that can occur in segments and outrank every new one, best first."""
    table, next_score = class_table(pieces), base.next_score
    return [
        piece
        for piece, score in base.ranked
        if len(piece) > 1 and score > next_score and all(table[ord(char)] != SEPARATOR for char in piece)
    ]


def _sizes(num_new_tokens: int) -> list[int]:
    return sorted({max(1, round(num_new_tokens * share)) for share in _CURVE_SHARES})


def _curve(learned: Learned, num_new_tokens: int) -> Vocabulary:
    """Cut the curve where the corpus ran out of pieces."""
    found = len(learned.pieces)
    sizes = [size for size in _sizes(num_new_tokens) if size < found] + [found]
    return Vocabulary(learned.pieces, sizes, learned.saved[: len(sizes)], learned.gains)


def merge_vocabulary(
    base: Base, corpus: CorpusCount, donor: Any, pieces: Pieces, *, compatible: bool, limit: int | None, workers: int
) -> Vocabulary:
    """Return the pieces of a SentencePiece model that the base lacks, and what they save on held-out text.

    Raises:
        InputError: If nothing is worth adding.
    """
    merged = compatible_merge(base, donor) if compatible else merge(base, donor, pieces, limit)
    scores = [0.0] * len(merged.pieces) if compatible else None
    sizes = _sizes(len(merged.pieces)) if corpus.held_out else []
    before = _counts(base.proto, corpus, workers)
    saved = [before - _counts(extended_proto(base, merged.pieces[:n], scores), corpus, workers) for n in sizes]
    return Vocabulary(
        merged.pieces,
        sizes,
        np.array(saved).reshape(len(sizes), len(corpus.held_out)),
        left_out=merged.left_out,
        scores=scores,
    )


def _counts(proto: Any, corpus: CorpusCount, workers: int) -> npt.NDArray[np.int64]:
    tokenizer = SentencePiece(proto, workers)
    return np.array([tokenizer.count(texts) for texts in corpus.held_out.values()], np.int64)
