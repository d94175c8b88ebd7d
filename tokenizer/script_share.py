"""How much of a corpus's Chinese is written in traditional characters."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from tokenizer.token_counts import drawn, sampling_step

_SAMPLED_CHARS: Final = 30_000
"""Of each domain's distinct segments."""

_LEAST: Final = 0.01
"""A smaller share is that of quotations and of characters that both scripts have: the text is simplified."""


def traditional_share(
    domains: Mapping[str, Mapping[str, int]], factors: Mapping[str, float], plain: Callable[[str], str]
) -> float:
    """Return the share of traditional among the characters that only one of the two scripts has; 0 where it is tiny.

    Args:
        domains: Domain -> segment -> occurrences.
        factors: Domain -> what an occurrence counts.
        plain: Returns a segment as plain text.
    """
    counts: Counter[str] = Counter()
    for domain, found in domains.items():
        step = sampling_step(found, _SAMPLED_CHARS)
        sample: Counter[str] = Counter()
        for segment in drawn(found, step):
            for char in plain(segment):
                sample[char] += found[segment]
        for char, count in sample.items():
            counts[char] += round(count * step * factors[domain] * 100)
    traditional = sum(counts[char] for char in _changed(counts, "t2s"))
    simplified = sum(counts[char] for char in _changed(counts, "s2t"))
    share = traditional / max(1, traditional + simplified)
    return share if share >= _LEAST else 0.0


def converted(texts: list[str], configuration: str) -> list[str]:
    """Return texts without line ends in the other script, as OpenCC's ``configuration`` (``s2t`` ...) converts them."""
    import opencc

    converter: Any = opencc.OpenCC(configuration)
    return converter.convert("\n".join(texts)).split("\n") if texts else []


def _changed(counts: Mapping[str, int], configuration: str) -> list[str]:
    chars = [char for char in sorted(counts) if char.isalpha()]
    return [char for char, other in zip(chars, converted(chars, configuration), strict=True) if char != other]
