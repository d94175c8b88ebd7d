"""Samples that scores are learned from: a set of texts in a fixed order, a part of them held out."""

import hashlib
import heapq
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from corpora.filters.word_spans import BLANK, char_kinds
from hanlm.errors import InputError

HELD_OUT_FRACTION = 0.2
"""Share of the documents that a score is checked on."""
MIN_DOCUMENTS = 50
"""Fewer documents teach their subjects, not their quality, and leave under ten to check on."""
MAX_DOCUMENTS = 20_000
"""More change nothing: the classifier has 262,144 weights and most are settled long before."""
MAX_CHARS = 20_000
"""Of a longer document the beginning is learned from."""
_MAX_TOTAL_CHARS = 20_000_000


def visible_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of the characters other than white space, by which samples often differ for no reason."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return points[(char_kinds()[points] & BLANK) == 0]


def split_sample(texts: Iterable[str], what: str, seed: int) -> tuple[list[str], list[str]]:
    """Return the texts to learn from and those held out: the same for any order, repeats left out.

    Raises:
        InputError: If there are too few.
    """
    chosen = sample_texts(texts, MAX_DOCUMENTS, seed)
    chosen = chosen[: int(np.searchsorted(np.cumsum([len(text) for text in chosen]), _MAX_TOTAL_CHARS)) + 1]
    if len(chosen) < MIN_DOCUMENTS:
        raise InputError(
            f"a score needs at least {MIN_DOCUMENTS} different {what} documents to learn from, got {len(chosen)}; "
            "add documents, or turn the step score off."
        )
    num_held_out = round(len(chosen) * HELD_OUT_FRACTION)
    return chosen[num_held_out:], chosen[:num_held_out]


def sample_texts(texts: Iterable[str], num: int, seed: int) -> list[str]:
    """Return ``num`` different texts drawn evenly, in an order that hangs on content and seed alone.

    Those with the least hashes, so that no more than ``num`` are held at a time.
    """
    salt = seed.to_bytes(8, "little", signed=True)
    least: list[tuple[int, str]] = []  # a heap with the greatest hash first, negated
    held = set[int]()
    for text in texts:
        if not text[:MAX_CHARS].strip():
            continue
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, salt=salt).digest()
        key = -int.from_bytes(digest, "big")
        if key in held or (len(least) == num and key < least[0][0]):
            continue
        held.add(key)
        if len(least) < num:
            heapq.heappush(least, (key, text[:MAX_CHARS]))
        else:
            held.remove(heapq.heappushpop(least, (key, text[:MAX_CHARS]))[0])
    return [text for _, text in sorted(least, reverse=True)]


def quantile_score(scores: Sequence[float], keep: float) -> float:
    """Return the least score with which a share ``keep`` of the scores stays."""
    return float(np.quantile(scores, 1 - keep, method="lower"))
