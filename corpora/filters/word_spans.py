"""A document's words as arrays: what the quality rules count on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from corpora.filters.ngram_kernels import keep_visible

NOT_PUNCTUATION, LETTER, BLANK = 1, 2, 4
"""Bits of ``char_kinds``."""


@dataclass(frozen=True, slots=True)
class WordSpans:
    """The words of a text that are not white space.

    The words are those of datatrove's tokenizers, which leave white space out and keep punctuation.
    """

    points: npt.NDArray[np.uint32]
    """Code points of the words, one word after the other."""
    offsets: npt.NDArray[np.int32]
    """Where each word starts in ``points``, and one entry more: its length."""

    def __len__(self) -> int:
        return len(self.offsets) - 1


def word_spans(words: Sequence[str]) -> WordSpans:
    """Return the spans of the words that are not white space; a word must not mix it with anything else."""
    points = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.fromiter(map(len, words), np.int32, len(words))
    visible, offsets = np.empty(len(points), np.uint32), np.empty(len(words) + 1, np.int32)
    num_words = keep_visible(points, lengths, char_kinds(), visible, offsets)
    offsets = offsets[: num_words + 1]
    return WordSpans(visible[: offsets[-1]], offsets)


@cache
def char_kinds() -> npt.NDArray[np.uint8]:
    """Return for each code point which of ``NOT_PUNCTUATION``, ``LETTER`` and ``BLANK`` it is.

    Punctuation is datatrove's set, letters and white space are those of ``str.isalpha`` and ``str.isspace``.
    """
    from datatrove.utils.text import PUNCTUATION_SET

    chars = np.arange(0x110000, dtype=np.uint32).view("<U1")
    kinds = np.where(np.strings.isalpha(chars), LETTER, 0).astype(np.uint8)
    kinds[np.strings.isspace(chars)] |= BLANK
    kinds |= NOT_PUNCTUATION
    kinds[[ord(char) for char in PUNCTUATION_SET]] &= ~NOT_PUNCTUATION & 0xFF
    return kinds
