"""How often new tokens occur in the corpus, at every size of the vocabulary, from one tokenization of it."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from tokenizer.base import Base
from tokenizer.count import CorpusCount
from tokenizer.token_counts import MAX_SAMPLED_CHARS, drawn_segments, sampling_step, token_counts


def rare_shares(
    base: Base, corpus: CorpusCount, pieces: Sequence[str], min_occurrences: int, workers: int = 1
) -> npt.NDArray[np.float64]:
    """Return, [pieces + 1], which share of the first n pieces occurs less often than ``min_occurrences`` in the corpus.

    The text is tokenized with all pieces; a smaller vocabulary's counts follow, because there the last piece falls
    apart into the two that it is merged from. Of more text than ``MAX_SAMPLED_CHARS`` a sample stands for all.
    """
    forms, first = base.extended(pieces, workers), base.num_tokens
    step = sampling_step(list(chain.from_iterable(corpus.segments.values())), MAX_SAMPLED_CHARS)
    segments = drawn_segments(corpus, base.plain, dict.fromkeys(corpus.segments, step))
    counts: list[int] = token_counts(forms, forms.num_tokens, segments)[first:].tolist()
    parents = [[p - first for p in ids if p >= first] for ids in forms.merge_parents(first)]
    least = min_occurrences / step
    num_rare, shares = sum(count < least for count in counts), np.zeros(len(pieces) + 1)
    for n in range(len(pieces), 0, -1):
        shares[n] = num_rare / n
        last = counts[n - 1]
        num_rare -= last < least
        for parent in parents[n - 1]:
            num_rare -= counts[parent] < least <= counts[parent] + last
            counts[parent] += last
    return shares
