"""Choose among more pieces than asked for those that will be used in text nobody has seen.

Byte-pair encoding ranks a piece by its sum over all text, so a phrase of one domain crowds out words of every domain.
Here the pieces come in the order in which they would be missed: a piece's expected use is a power mean of its rates
in the corpus's domains, which what is frequent in one of them alone does not dominate, and its use in the lexicon.
How much the lexicon counts is found by leaving out one domain after another: each would like another share, and the one
is taken that does least harm to the domain it suits worst.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tokenizer.bpe_choice import prune
from tokenizer.merging import is_reachable, last_parts

POWER: Final = 0.75
"""Of the mean over domains: 1 would be the plain sum. With a quarter of the training domains left out at a time, 0.8
brought 0.2% fewer tokens on those and 0.5% on the others; 0.7 brought more, but cost the smallest domain 3.4%."""

SURPLUS: Final = 1.4
"""How many pieces are learned for one that is kept."""

LEXICON_SHARES: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0)
"""What the lexicon may count, in what it counted while the pieces were learned."""

MIN_JUDGE: Final = 0.01
"""Share from which a domain has a say in it: a page of text would be moved by single pieces."""

_WHOLE: Final = -1


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pieces to choose from, and how often each is used."""

    pieces: list[str]
    """Each after the parts it is merged from."""
    domains: npt.NDArray[np.float64]
    """[pieces, domains]: weighted uses in a text tokenized with all the pieces."""
    lexicon: npt.NDArray[np.float64]
    """[pieces]: weighted uses in the lexicon."""
    share: npt.NDArray[np.float64]
    """[domains]: of the weight, more than 0; together 1."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The pieces that stay, best first: every prefix is a vocabulary."""

    pieces: list[str]
    gains: list[float]
    """Tokens of the weighted text and the lexicon that each would be missed by, with those before it alone."""
    lexicon_share: float


def choose(
    candidates: Candidates, ranks: Mapping[str, float], next_score: float, num_kept: int, workers: int = 1
) -> Choice:
    """Return the ``num_kept`` best pieces (all, where there are no more).

    Args:
        candidates: What to choose from.
        ranks: The base's pieces with their scores.
        next_score: The score that continues them.
        num_kept: How many to choose.
        workers: Threads.
    """
    pruning = _Pruning(candidates, _parents(candidates.pieces, ranks, next_score))
    # Where a corpus holds few pieces all may stay; the share is judged as if some had to go, for the order's sake.
    num_judged = min(num_kept, round(len(candidates.pieces) / SURPLUS))
    share = pruning.best_lexicon_share(num_judged, workers) if candidates.lexicon.any() else 0.0
    removed, lost = pruning.run(share, _WHOLE, 0)
    pieces, gains = _reachable(
        [candidates.pieces[i] for i in removed[::-1]], lost[::-1].sum(axis=1).tolist(), ranks, next_score
    )
    return Choice(pieces[:num_kept], gains[:num_kept], share)


class _Pruning:
    """What all runs over one set of candidates share."""

    def __init__(self, candidates: Candidates, parents: npt.NDArray[np.int32]) -> None:
        self._usage = np.column_stack([candidates.domains, candidates.lexicon])
        self._share = candidates.share
        self._parents = parents
        self._worth = np.array([len(p.encode()) - 1 if len(p) == 1 else 1 for p in candidates.pieces], np.float64)

    def run(self, lexicon_share: float, left_out: int, num_kept: int) -> tuple[npt.NDArray[np.int32], Any]:
        """Return the pieces removed, in that order, and the tokens each costs per column."""
        count = len(self._worth)
        num_removed = max(0, count - num_kept)
        removed = np.zeros(num_removed, np.int32)
        lost = np.zeros((num_removed, self._usage.shape[1]))
        prune(
            self._usage.copy(),
            self._parents,
            self._worth,
            self._share,
            POWER,
            lexicon_share,
            left_out,
            count - num_removed,
            np.zeros(count, np.int32),
            np.zeros(count, np.int32),
            np.zeros(count),
            removed,
            lost,
        )
        return removed, lost

    def best_lexicon_share(self, num_kept: int, workers: int) -> float:
        """Return the share whose greatest regret is least.

        A domain's regret: what it loses when the choice does not see it, beside what it loses with its own best share.
        """
        judges = np.flatnonzero(self._share >= MIN_JUDGE).tolist()
        runs = [(share, judge) for share in LEXICON_SHARES for judge in judges]
        with ThreadPoolExecutor(workers) as threads:
            losses = threads.map(lambda run: float(self.run(run[0], run[1], num_kept)[1][:, run[1]].sum()), runs)
        lost = np.array(list(losses)).reshape(len(LEXICON_SHARES), len(judges))
        regret = (lost + 1) / (lost.min(axis=0) + 1)  # one token more, where nothing is lost
        return LEXICON_SHARES[int(regret.max(axis=1).argmin())]


def _parents(pieces: Sequence[str], ranks: Mapping[str, float], next_score: float) -> npt.NDArray[np.int32]:
    """Return the two new pieces that each is merged from last, -1 for a piece of the base and for characters."""
    scores = {**ranks, **{piece: next_score - i for i, piece in enumerate(pieces)}}
    index = {piece: i for i, piece in enumerate(pieces)}
    parents = np.full((len(pieces), 2), -1, np.int32)
    for i, piece in enumerate(pieces):
        if len(piece) > 1:
            for side, part in enumerate(last_parts(piece, scores)):
                parents[i, side] = index.get(part, -1)
    return parents


def _reachable(
    order: Sequence[str], gains: Sequence[float], ranks: Mapping[str, float], next_score: float
) -> tuple[list[str], list[float]]:
    """Return the pieces that merging in the new order arrives at; about one in 20,000 it does not.

    Pieces of a worse rank never come between: while a better one can be merged, it is.
    """
    scores = dict(ranks)
    kept: list[str] = []
    kept_gains: list[float] = []
    for piece, gain in zip(order, gains, strict=True):
        scores[piece] = next_score - len(kept)
        if is_reachable(piece, scores):
            kept.append(piece)
            kept_gains.append(gain)
        else:
            del scores[piece]
    return kept, kept_gains
