"""Which tokens of a base a corpus can do without: never used, and no part of a token that stays.

Every text of the corpus is then tokenized as before: what merging makes on the way either remains to the end, and was
used, or becomes a part of something that does. So nothing that is dropped was ever made, and no merge is missed.
"""

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched, chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from tokenizer.count import MAX_CHECKED_CHARS, is_due
from tokenizer.forms import Encoder

_BATCH_DOCUMENTS = 256


@dataclass(frozen=True, slots=True)
class CorpusUse:
    """How often each token stands in a corpus."""

    counts: npt.NDArray[np.int64]
    """[tokens]"""
    texts: list[str]
    """Some of the documents counted, early ones more densely: to be tokenized again when tokens are gone."""


def count_use(forms: Sequence[Encoder], num_tokens: int, paths: Sequence[Path], quarantine: Quarantine) -> CorpusUse:
    """Count the tokens of all of a corpus's documents, by every form, and keep some of the documents."""
    counts, kept, num_documents, room = np.zeros(num_tokens, np.int64), list[str](), 0, MAX_CHECKED_CHARS
    # Whole documents: a token may span what lines would cut, such as a blank line and an indent.
    documents = read_documents(list(paths), quarantine, split="all")
    for texts in batched((document.text for document in documents), _BATCH_DOCUMENTS):
        for form in forms:
            ids = np.fromiter(chain.from_iterable(form.encode(texts)), np.int64)
            counts += np.bincount(ids, minlength=num_tokens)
        for text in texts:
            num_documents += 1
            if len(text) <= room and is_due(num_documents, len(kept)):
                kept.append(text)
                room -= len(text)
    return CorpusUse(counts, kept)


def droppable(unused: Collection[int], parts: Mapping[int, Collection[int]]) -> list[int]:
    """Return the unused tokens that no remaining token is put together from, the worst rank (the largest id) first.

    They go in this order: whatever number of them is dropped, none that remains has lost a part.

    Args:
        unused: Tokens that may go if nothing needs them.
        parts: Token -> the tokens that a merge makes it from, by any of its merges.
    """
    needed_by = dict.fromkeys(unused, 0)
    for some in parts.values():
        for part in some:
            if part in needed_by:
                needed_by[part] += 1
    leaves = [-token for token, count in needed_by.items() if count == 0]
    heapq.heapify(leaves)
    order: list[int] = []
    while leaves:
        token = -heapq.heappop(leaves)
        order.append(token)
        for part in parts.get(token, ()):
            if part in needed_by:
                needed_by[part] -= 1
                if needed_by[part] == 0:
                    heapq.heappush(leaves, -part)
    return order
