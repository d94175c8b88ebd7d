"""Tokens per character, before and after, per domain, and along the size curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hanlm.text import han_ratio
from tokenizer.count import CorpusCount
from tokenizer.forms import Forms
from tokenizer.vocabulary import Vocabulary

MIN_HAN_RATIO: Final = 0.1
"""Share of Han from which a domain counts as Chinese; documentation full of code has 0.2."""


@dataclass(frozen=True, slots=True)
class DomainMeasure:
    """One domain's held-out text in tokens."""

    num_chars: int
    num_base_tokens: int
    num_extended_tokens: int

    def ratios(self) -> dict[str, float]:
        """Return tokens per character of the ``base`` and the ``extended`` tokenizer."""
        return {"base": self.num_base_tokens / self.num_chars, "extended": self.num_extended_tokens / self.num_chars}


@dataclass(frozen=True, slots=True)
class Measure:
    """Every domain, all Chinese ones together, and the size curve."""

    domains: dict[str, DomainMeasure]
    overall: DomainMeasure
    size_curve: list[dict[str, Any]]
    """``num_new_tokens`` and ``tokens_per_char`` by domain, as ``vocab_report.json`` holds it."""


def measure(old: Forms, new: Forms, corpus: CorpusCount, learned: Vocabulary) -> Measure | None:
    """Measure held-out documents, each tokenized as a whole; None where there is no text to measure on.

    The curve needs no further tokenizers: learning carried the held-out text along, and what a prefix of the
    pieces saved on it is exactly what a tokenizer with that prefix saves (up to a few quotes beside Latin).
    """
    domains = {
        domain: DomainMeasure(sum(map(len, texts)), old.count(texts), new.count(texts))
        for domain, texts in corpus.held_out.items()
        if texts
    }
    if not domains:
        return None
    chinese = [m for domain, m in domains.items() if is_chinese(corpus.held_out[domain])] or list(domains.values())
    totals = [
        sum(getattr(m, name) for m in chinese) for name in ("num_chars", "num_base_tokens", "num_extended_tokens")
    ]
    rows = [(0, [0] * len(corpus.held_out)), *zip(learned.sizes, learned.saved.tolist(), strict=True)]
    curve = [{"num_new_tokens": size, "tokens_per_char": _along(corpus, domains, saved)} for size, saved in rows]
    return Measure(domains, DomainMeasure(*totals), curve)


def is_chinese(texts: Sequence[str]) -> bool:
    """Say whether a domain is Chinese; replay in other languages must not dilute the overall figure."""
    return han_ratio("".join(texts)) >= MIN_HAN_RATIO


def _along(corpus: CorpusCount, domains: dict[str, DomainMeasure], saved: list[int]) -> dict[str, float]:
    return {
        domain: (domains[domain].num_base_tokens - count) / domains[domain].num_chars
        for domain, count in zip(corpus.held_out, saved, strict=False)
        if domain in domains
    }
