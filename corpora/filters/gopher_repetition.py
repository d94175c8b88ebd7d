"""Gopher's rules of repetition: lines, paragraphs and n-grams of words that occur again."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

import numpy as np

from corpora.facts import Facts, Reason, figure, quoted
from corpora.filters.ngram_kernels import hash_prefixes, name_words, repeated_chars, top_chars
from corpora.filters.quality_limits import EnglishLimits, GopherRepetitionLimits
from corpora.filters.quality_rule import QualityRule
from corpora.filters.word_spans import WordSpans

_BETWEEN_PARAGRAPHS = re.compile(r"\n{2,}")
_BETWEEN_LINES = re.compile("\n+")


class GopherRepetition(QualityRule):
    """Drops what datatrove's ``GopherRepetitionFilter`` drops, for the same reasons, given the same words.

    Written anew because datatrove's cuts the words itself and then spells out each n-gram as a string: on words
    already cut it takes 1.1 processor seconds for a megabyte of Chinese, this 0.05.

    Source: Rae et al. 2021, Scaling Language Models (arXiv:2112.11446), table A1.
    """

    name: ClassVar[str] = "gopher-repetition"

    def judge(self, facts: Facts, limits: EnglishLimits) -> str | None:
        """Return the first of datatrove's reasons that holds, or None."""
        own = limits.gopher_repetition
        if not facts.text:
            return "gopher_empty"
        return _judge_lines(facts.text, own) or _judge_ngrams(facts, own)


def _judge_lines(text: str, limits: GopherRepetitionLimits) -> str | None:
    for unit, name, parts, max_share, max_share_of_chars in (
        (
            "para",
            "paragraphs",
            _BETWEEN_PARAGRAPHS.split(text.strip()),
            limits.dup_para_frac,
            limits.dup_para_char_frac,
        ),
        ("line", "lines", _BETWEEN_LINES.split(text), limits.dup_line_frac, limits.dup_line_char_frac),
    ):
        if not (max_share or max_share_of_chars):
            continue
        num_repeats, num_chars = count_repeats(parts)
        if max_share and (share := num_repeats / len(parts)) > max_share:
            repeat = f"{figure(share)} of the {name} repeats an earlier one"
            return Reason(f"gopher_dup_{unit}_frac", f"{repeat}, limit {figure(max_share)}")
        if max_share_of_chars and (share := num_chars / len(text)) > max_share_of_chars:
            repeat = f"{figure(share)} of the text is in {name} that repeat an earlier one"
            return Reason(f"gopher_dup_{unit}_char_frac", f"{repeat}, limit {figure(max_share_of_chars)}")
    return None


def count_repeats(parts: Sequence[str]) -> tuple[int, int]:
    """Return how many parts repeat an earlier one, and their characters: datatrove's ``find_duplicates``."""
    if len(set(parts)) == len(parts):
        return 0, 0
    from datatrove.pipeline.filters.gopher_repetition_filter import find_duplicates

    return find_duplicates(list(parts))


def _judge_ngrams(facts: Facts, limits: GopherRepetitionLimits) -> str | None:
    counter, num_chars = NGramCounter(facts.spans), len(facts.text)
    for n, max_share in limits.top_n_grams:
        if (share := counter.top_chars(n) / num_chars) > max_share:
            is_made = f"{figure(share)} of the text is the same {_run(n)}, limit {figure(max_share)}"
            return Reason(f"gopher_top_{n}_gram", is_made + _most_frequent(facts.words, counter, n))
    for n, max_share in limits.dup_n_grams:
        if (share := counter.repeated_chars(n) / num_chars) > max_share:
            repeats = f"{figure(share)} of the text repeats an earlier {_run(n)}, limit {figure(max_share)}"
            return Reason(f"gopher_duplicated_{n}_n_grams", repeats + _most_frequent(facts.words, counter, n))
    return None


def _run(n: int) -> str:
    return f"run of {n} words" if n > 1 else "word"


def _most_frequent(words: Sequence[str], counter: "NGramCounter", n: int) -> str:
    """Return how often the most frequent n-gram occurs, and that as the text spells it; nothing if it is alone."""
    first, count = counter.top(n)
    if count < 2:
        return ""  # words that are cut otherwise elsewhere may spell the same
    places = list(islice((place for place, word in enumerate(words) if not word[0].isspace()), first, first + n))
    return f"; {count:,} times “{quoted(''.join(words[places[0] : places[-1] + 1]))}”"


class NGramCounter:
    """The n-grams of one document's words, counted by the compiled kernels in shared tables."""

    def __init__(self, spans: WordSpans) -> None:
        self._spans, num_words = spans, len(spans)
        self._prefixes, self._powers = np.empty((2, len(spans.points) + 1), np.uint64)
        hash_prefixes(spans.points, self._prefixes, self._powers)
        self._table = np.empty(1 << (2 * num_words).bit_length(), np.int32)
        self._hashes = np.empty(num_words, np.uint64)
        self._ids, self._counts = np.empty((2, num_words), np.int32)
        name_words(spans.points, spans.offsets, self._prefixes, self._powers, self._table, self._ids, self._hashes)

    def top_chars(self, n: int) -> int:
        """Return the characters of the most frequent n-gram times its occurrences; see ``ngram_kernels``."""
        return top_chars(n, self._ids, self._spans.offsets, self._table, self._hashes, self._counts)

    def top(self, n: int) -> tuple[int, int]:
        """Return the first word of the most frequent n-gram, and its occurrences; there must be n words."""
        self.top_chars(n)
        first = int(self._counts[: len(self._counts) - n + 1].argmax())
        return first, int(self._counts[first])

    def repeated_chars(self, n: int) -> int:
        """Return the characters in n-grams that occurred before; see ``ngram_kernels``."""
        spans = self._spans
        return repeated_chars(n, spans.points, spans.offsets, self._prefixes, self._powers, self._table, self._hashes)
