"""Tokens per character, before and after, per domain, and along the size curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hanlm.text import han_ratio
from tokenizer.compare import NamedTokenizer
from tokenizer.forms import Forms
from tokenizer.vocabulary import Vocabulary

MIN_HAN_RATIO: Final = 0.1
"""Share of Han from which a domain counts as Chinese; documentation full of code has 0.2."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The text that is measured on, by domain, and what the base needs for it."""

    texts: Mapping[str, Sequence[str]]
    num_chars: dict[str, int]
    num_base_tokens: dict[str, int]
    counted: list[str]
    """The domains that overall figures are of: the Chinese ones, or all where none is."""

    def per_char(self, num_tokens: Mapping[str, int]) -> dict[str, float]:
        """Return tokens per character by domain."""
        return {domain: num_tokens[domain] / count for domain, count in self.num_chars.items()}

    def overall(self, counts: Mapping[str, int]) -> int:
        """Return a count's sum over the domains that overall figures are of."""
        return sum(counts[domain] for domain in self.counted)

    def overall_per_char(self, num_tokens: Mapping[str, int]) -> float:
        """Return tokens per character of the domains that overall figures are of."""
        return self.overall(num_tokens) / self.overall(self.num_chars)

    def along(self, vocabulary: Vocabulary) -> dict[int, dict[str, int]]:
        """Return number of new tokens -> tokens by domain, for none and for every size that the vocabulary noted.

        This needs no further tokenizers: learning carried the held-out text along, and what a prefix of the pieces
        saved on it is exactly what a tokenizer with that prefix saves (up to a few quotes beside Latin).
        """
        curve = {0: self.num_base_tokens}
        for size, saved in zip(vocabulary.sizes, vocabulary.saved.tolist(), strict=True):
            counts = zip(self.num_base_tokens.items(), saved, strict=True)
            curve[size] = {domain: before - fewer for (domain, before), fewer in counts}
        return curve


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
    """Every domain, all that count together, and the size curve."""

    domains: dict[str, DomainMeasure]
    overall: DomainMeasure
    size_curve: list[dict[str, Any]]
    """``num_new_tokens`` and ``tokens_per_char`` by domain, as ``vocab_report.json`` holds it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedMeasure:
    """What another tokenizer needs for the same held-out documents."""

    tokens_per_char: dict[str, float]
    """By domain."""
    overall: float | None
    """Of the domains that count overall; None where there is no text."""
    unknown_share: float
    """Share of its tokens that say that it cannot spell something: such a tokenizer is short because it loses text."""


def measure_base(base: Forms, texts: Mapping[str, Sequence[str]]) -> HeldOut:
    """Measure the base on held-out documents, each tokenized as a whole."""
    return HeldOut(
        texts,
        num_chars={domain: sum(map(len, found)) for domain, found in texts.items()},
        num_base_tokens={domain: base.count(found) for domain, found in texts.items()},
        counted=[domain for domain, found in texts.items() if is_chinese(found)] or list(texts),
    )


def measure(held_out: HeldOut, new: Forms, vocabulary: Vocabulary) -> Measure | None:
    """Measure the extended tokenizer on what the base was measured on; None where there is no text."""
    if not held_out.texts:
        return None
    counts = [held_out.num_chars, held_out.num_base_tokens]
    counts.append({domain: new.count(texts) for domain, texts in held_out.texts.items()})
    curve = held_out.along(vocabulary).items()
    return Measure(
        {domain: DomainMeasure(*(count[domain] for count in counts)) for domain in held_out.texts},
        DomainMeasure(*map(held_out.overall, counts)),
        [{"num_new_tokens": size, "tokens_per_char": held_out.per_char(num_tokens)} for size, num_tokens in curve],
    )


def measure_compared(held_out: HeldOut, tokenizer: NamedTokenizer) -> ComparedMeasure:
    """Measure a tokenizer on exactly what base and extended are measured on."""
    ids = {domain: tokenizer.encoder.encode(texts) for domain, texts in held_out.texts.items()}
    num_tokens = {domain: sum(map(len, found)) for domain, found in ids.items()}
    unknown = sum(sum(i == tokenizer.unknown_id for i in one) for d in ids.values() for one in d)
    return ComparedMeasure(
        tokens_per_char=held_out.per_char(num_tokens),
        overall=held_out.overall_per_char(num_tokens) if held_out.texts else None,
        unknown_share=unknown / max(1, sum(num_tokens.values())),
    )


def is_chinese(texts: Sequence[str]) -> bool:
    """Say whether a domain is Chinese; replay in other languages must not dilute the overall figure."""
    return han_ratio("".join(texts)) >= MIN_HAN_RATIO
