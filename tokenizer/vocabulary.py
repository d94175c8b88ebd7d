"""Choose the new pieces: the corpus's segments, the prior's, and what the base already has, given to ``learn``."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanlm.errors import InputError
from tokenizer.base import NORMAL, Base
from tokenizer.count import CorpusCount
from tokenizer.learn import Learned, learn
from tokenizer.pieces import SEPARATOR, Pieces, class_table, segments
from tokenizer.prior import Prior, jieba_segments

_CURVE_SHARES = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """New pieces in order of gain, and the size curve of held-out text."""

    pieces: list[str]
    gains: list[float]
    sizes: list[int]
    saved: npt.NDArray[np.int64]
    """[sizes, domains]: tokens saved on the held-out text of ``CorpusCount.held_out``, in its order."""


def learn_vocabulary(base: Base, corpus: CorpusCount, pieces: Pieces, prior: Prior, num_new_tokens: int) -> Vocabulary:
    """Return up to ``num_new_tokens`` pieces.

    Raises:
        InputError: If nothing is worth adding.
    """
    weighted = dict(corpus.segments)
    if prior == "jieba":
        for word, weight in jieba_segments(corpus.num_chars).items():
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
    return Vocabulary(learned.pieces, learned.gains, sizes, learned.saved[: len(sizes)])
