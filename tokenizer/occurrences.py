"""How often new tokens occur in the corpus, at every size of the vocabulary, from one tokenization of it."""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from tokenizer.base import Base
from tokenizer.count import CorpusCount
from tokenizer.forms import Forms

MAX_SAMPLED_CHARS: Final = 2_000_000
"""Of distinct segments. On 58 MB of text an eighth gives shares of rare tokens within RARE of those of all of it."""

_BATCH = 20_000


def rare_shares(
    base: Base, corpus: CorpusCount, pieces: Sequence[str], min_occurrences: int, workers: int = 1
) -> npt.NDArray[np.float64]:
    """Return, [pieces + 1], which share of the first n pieces occurs less often than ``min_occurrences`` in the corpus.

    The text is tokenized with all pieces; a smaller vocabulary's counts follow, because there the last piece falls
    apart into the two that it is merged from.
    """
    forms, first = base.extended(pieces, workers), base.num_tokens
    segments, fraction = _sample(corpus)
    counts = _counts(forms, base, segments)
    parents = [[p - first for p in ids if p >= first] for ids in forms.merge_parents(first)]
    least = min_occurrences * fraction
    num_rare, shares = sum(count < least for count in counts), np.zeros(len(pieces) + 1)
    for n in range(len(pieces), 0, -1):
        shares[n] = num_rare / n
        last = counts[n - 1]
        num_rare -= last < least
        for parent in parents[n - 1]:
            num_rare -= counts[parent] < least <= counts[parent] + last
            counts[parent] += last
    return shares


def _sample(corpus: CorpusCount) -> tuple[dict[str, int], float]:
    """Return segment -> occurrences, of at most so much text, chosen by hash; and what fraction of the text it is."""
    num_chars = sum(len(segment) for found in corpus.segments.values() for segment in found)
    every = -(-num_chars // MAX_SAMPLED_CHARS)
    sample: Counter[str] = Counter()
    for domain, found in corpus.segments.items():
        times = 1 / corpus.shares.get(domain, 1.0)
        drawn = {s: round(count * times) for s, count in found.items() if zlib.crc32(s.encode()) % every == 0}
        sample.update(drawn)
    return sample, 1 / every


def _counts(forms: Forms, base: Base, segments: dict[str, int]) -> list[int]:
    """Return each new token's occurrences."""
    weights = list(segments.values())
    # Behind a line end SentencePiece puts no space before a segment, and no pre-token reaches over it.
    texts = ["\n" + base.plain(segment) for segment in segments]
    counts = np.zeros(forms.num_tokens, np.int64)
    for start in range(0, len(texts), _BATCH):
        encoded = forms.encode(texts[start : start + _BATCH])
        lengths = [len(ids) for ids in encoded]
        ids = np.fromiter((i for ids in encoded for i in ids), np.int64, sum(lengths))
        np.add.at(counts, ids, np.repeat(weights[start : start + _BATCH], lengths))
    return counts[base.num_tokens :].tolist()
