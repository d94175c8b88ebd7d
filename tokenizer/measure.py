"""Tokens per character, before and after, per domain, and along the size curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hanlm.text import han_ratio
from tokenizer.compare import NamedTokenizer
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
    chinese = [domains[domain] for domain in overall_domains(corpus.held_out)]
    totals = [
        sum(getattr(m, name) for m in chinese) for name in ("num_chars", "num_base_tokens", "num_extended_tokens")
    ]
    rows = [(0, [0] * len(corpus.held_out)), *zip(learned.sizes, learned.saved.tolist(), strict=True)]
    curve = [{"num_new_tokens": size, "tokens_per_char": _along(corpus, domains, saved)} for size, saved in rows]
    return Measure(domains, DomainMeasure(*totals), curve)


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedMeasure:
    """What another tokenizer needs for the same held-out documents."""

    tokens_per_char: dict[str, float]
    """By domain."""
    overall: float | None
    """Of the domains that count overall; None where there is no text."""
    unknown_share: float
    """Share of its tokens that say that it cannot spell something: such a tokenizer is short because it loses text."""


def measure_compared(tokenizer: NamedTokenizer, held_out: Mapping[str, Sequence[str]]) -> ComparedMeasure:
    """Measure a tokenizer on exactly what base and extended are measured on."""
    num_chars = {domain: sum(map(len, texts)) for domain, texts in held_out.items() if texts}
    ids = {domain: tokenizer.encoder.encode(held_out[domain]) for domain in num_chars}
    num_tokens = {domain: sum(map(len, found)) for domain, found in ids.items()}
    counted = overall_domains(held_out)
    unknown = sum(sum(i == tokenizer.unknown_id for i in one) for d in ids.values() for one in d)
    return ComparedMeasure(
        tokens_per_char={domain: num_tokens[domain] / num_chars[domain] for domain in num_chars},
        overall=sum(num_tokens[d] for d in counted) / sum(num_chars[d] for d in counted) if counted else None,
        unknown_share=unknown / max(1, sum(num_tokens.values())),
    )


def overall_domains(held_out: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the domains that the overall figure is of: the Chinese ones, or all where none is."""
    filled = [domain for domain, texts in held_out.items() if texts]
    return [domain for domain in filled if is_chinese(held_out[domain])] or filled


def is_chinese(texts: Sequence[str]) -> bool:
    """Say whether a domain is Chinese; replay in other languages must not dilute the overall figure."""
    return han_ratio("".join(texts)) >= MIN_HAN_RATIO


def _along(corpus: CorpusCount, domains: dict[str, DomainMeasure], saved: list[int]) -> dict[str, float]:
    return {
        domain: (domains[domain].num_base_tokens - count) / domains[domain].num_chars
        for domain, count in zip(corpus.held_out, saved, strict=False)
        if domain in domains
    }
