"""The new pieces: learned from the corpus's segments and the prior's, or merged from another model."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hanlm.errors import InputError
from hanlm.log import say
from tokenizer.base import Base
from tokenizer.choice import SURPLUS, Candidates, choose
from tokenizer.count import CorpusCount
from tokenizer.forms import Forms
from tokenizer.learn import WEIGHT_UNIT, Learned, learn, replay
from tokenizer.merge import compatible_merge, merge
from tokenizer.piece_uses import piece_uses
from tokenizer.pieces import Pieces
from tokenizer.prior import Prior, jieba_segments
from tokenizer.script_share import traditional_share
from tokenizer.spm import SpmBase

MAX_UPWEIGHT: Final = 4.0
"""Most that a small domain's text counts beside the average."""

_ALL: Final[Mapping[str, float]] = {}

_APART: Final = "1"
"""Stands between words: no piece holds it, and nearly every pre-tokenizer cuts at it."""

STEP: Final = 128
"""Sizes whose vocabulary in all is a multiple of this are noted: matrices of such sizes are multiplied fastest."""

MAX_COLUMNS: Final = 16
"""Domains that the choice tells apart."""

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
    base: Base,
    corpus: CorpusCount,
    pieces: Pieces,
    prior: Prior,
    num_new_tokens: int,
    *,
    exponent: float = 1.0,
    workers: int = 1,
) -> Vocabulary:
    """Return up to ``num_new_tokens`` pieces, and what every ``STEP`` of them save.

    Args:
        base: What is extended.
        corpus: What is learned from, and measured on.
        pieces: What new pieces may hold.
        prior: Which lexicon counts beside the corpus.
        num_new_tokens: The budget.
        exponent: Of a domain's size, see ``weighted_segments``.
        workers: Threads.

    Raises:
        InputError: If nothing is worth adding.
    """
    sizes = sorted({*_sizes(num_new_tokens), *range(-base.num_tokens % STEP or STEP, num_new_tokens, STEP)})
    weighted = weighted_segments(corpus.segments, exponent, corpus.shares)
    factors = domain_factors(corpus.segments, exponent, corpus.shares)
    lexicon: Counter[str] = Counter()
    if prior == "jieba":
        num_chars = sum(base.num_chars(segment) * weight for segment, weight in weighted.items()) // WEIGHT_UNIT
        words = jieba_segments(num_chars, traditional_share(corpus.segments, factors, base.plain))
        together = base.segments(_APART.join(words), pieces)  # in one call: there are 350,000
        if list(map(base.plain, together)) == list(words):
            lexicon.update(dict(zip(together, words.values(), strict=True)))
        else:  # some are cut, by added tokens or the pre-tokenizer
            for word, weight in words.items():
                lexicon.update(dict.fromkeys(base.segments(word, pieces), weight))
    for segment, weight in lexicon.items():
        weighted[segment] = weighted.get(segment, 0) + weight
    held_out = [[s for text in texts for s in base.segments(text, pieces)] for texts in corpus.held_out.values()]
    if len(corpus.segments) == 1:
        learned = _learn(base, weighted, held_out, pieces, sizes)
        return _curve(base, learned.pieces, learned.gains, learned.saved, sizes)
    learned = _learn(base, weighted, (), pieces, [round(SURPLUS * num_new_tokens)])
    candidates = _candidates(learned, weighted, corpus, lexicon, factors)
    choice = choose(candidates, base.scores, base.next_score, num_new_tokens, workers)
    weighed = f"; the lexicon counts {choice.lexicon_share:g} times as much as in learning" if lexicon else ""
    say(f"chose {len(choice.pieces):,} of {len(learned.pieces):,} pieces learned{weighed}")
    index = dict(zip(learned.pieces, learned.tokens.tolist(), strict=True))
    tokens = np.array([index[piece] for piece in choice.pieces], np.int64)
    keys, lengths = learned.tok_hash[tokens], learned.tok_len[tokens].astype(np.int64)
    saved = replay(base.start({}, held_out, pieces, num_new_tokens), keys, lengths, sizes)
    return _curve(base, choice.pieces, choice.gains, saved, sizes)


def _learn(
    base: Base, segments: Mapping[str, int], held_out: Sequence[Sequence[str]], pieces: Pieces, sizes: Sequence[int]
) -> Learned:
    """Learn from segments cut at rare pairs; from longer ones where it then shows that too much was cut."""
    for num_pairs in (2 * sizes[-1], 8 * sizes[-1]):
        learned = learn(base.start(segments, held_out, pieces, sizes[-1], num_pairs), sizes=sizes)
        if learned.is_exact:
            return learned
        del learned  # its arrays are as long as the text
    return learn(base.start(segments, held_out, pieces, sizes[-1]), sizes=sizes)


def _candidates(
    learned: Learned,
    weighted: Mapping[str, int],
    corpus: CorpusCount,
    lexicon: Mapping[str, int],
    factors: Mapping[str, float],
) -> Candidates:
    """Return the learned pieces with their weighted use in each domain; the smallest are taken together."""
    domains = corpus.segments
    sizes = {name: _num_chars(found) for name, found in domains.items()}
    names = sorted(domains, key=lambda name: (-sizes[name] * factors[name], name))
    used = piece_uses(learned, weighted, [*(domains[name] for name in names), lexicon])
    columns = [uses * factors[name] for uses, name in zip(used.T, names, strict=False)]
    shares = [sizes[name] * factors[name] for name in names]
    if len(columns) > MAX_COLUMNS:
        columns[MAX_COLUMNS - 1 :] = [np.sum(columns[MAX_COLUMNS - 1 :], axis=0)]
        shares[MAX_COLUMNS - 1 :] = [sum(shares[MAX_COLUMNS - 1 :])]
    share = np.array(shares) / sum(shares)
    return Candidates(learned.pieces, np.column_stack(columns), used[:, -1] / WEIGHT_UNIT, share)


def no_vocabulary(num_domains: int) -> Vocabulary:
    """Return no pieces at all."""
    return Vocabulary([], [], np.zeros((0, num_domains), np.int64))


def weighted_segments(
    domains: Mapping[str, Mapping[str, int]], exponent: float, sampled: Mapping[str, float] = _ALL
) -> dict[str, int]:
    """Return segment -> weight in 1/WEIGHT_UNIT over all domains, which together weigh as much as they have characters.

    A domain of n characters gets a share in proportion to ``n ** exponent`` (as multilingual models sample languages),
    but its text never counts more than MAX_UPWEIGHT times: one page that calls itself a domain should not rule.
    """
    weighted: Counter[str] = Counter()
    for name, factor in domain_factors(domains, exponent, sampled).items():
        unit = WEIGHT_UNIT * factor
        weighted.update({segment: max(1, round(count * unit)) for segment, count in domains[name].items()})
    return dict(weighted)


def domain_factors(
    domains: Mapping[str, Mapping[str, int]], exponent: float, sampled: Mapping[str, float] = _ALL
) -> dict[str, float]:
    """Return what an occurrence counts in each domain, see ``weighted_segments``.

    Args:
        domains: Domain -> segment -> occurrences.
        exponent: Of a domain's size.
        sampled: Domain -> share of it that the occurrences are of, where that is not all.
    """
    counted = {name: _num_chars(found) for name, found in domains.items()}
    sizes = {name: size / sampled.get(name, 1.0) for name, size in counted.items()}
    shares = {name: size**exponent for name, size in sizes.items()}
    total = sum(sizes.values())
    unit, in_all = total / sum(shares.values()), sum(counted.values()) / total
    upweight = {name: min(MAX_UPWEIGHT, unit * shares[name] / sizes[name]) for name in domains}
    return {name: in_all * factor / sampled.get(name, 1.0) for name, factor in upweight.items()}


def _num_chars(segments: Mapping[str, int]) -> int:
    return sum(len(segment) * count for segment, count in segments.items())


def _sizes(num_new_tokens: int) -> list[int]:
    return sorted({max(1, round(num_new_tokens * share)) for share in _CURVE_SHARES})


def _curve(
    base: Base, pieces: list[str], gains: list[float], saved: npt.NDArray[np.int64], sizes: Sequence[int]
) -> Vocabulary:
    """Cut the curve where the corpus ran out of pieces."""
    if not pieces:
        raise InputError(
            f"{base.path} already has every piece that this corpus repeats; expected a corpus with more Chinese text."
        )
    found = len(pieces)
    sizes = [size for size in sizes if size < found] + [found]
    return Vocabulary(pieces, sizes, saved[: len(sizes)], gains)


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
