"""New tokens that the lexicon alone brings: beside a small corpus, words that its text never uses fill the budget."""

from collections.abc import Sequence
from typing import Final

from tokenizer.usage import Usage

MIN_SHARE: Final = 0.1
"""Of the new tokens: a user is told from here on. 6,000 tokens beside 0.4 MB have 29% of them, beside 2.9 MB 2%."""


def num_lexicon_only(usage: Usage, parents: Sequence[Sequence[int]]) -> int | None:
    """Return how many new tokens the text neither uses nor merges into one that it uses; None of a sample.

    What a sample does not use the rest of the text may.

    Args:
        usage: The new tokens, in order of id.
        parents: For each the ids that it is merged from, all smaller than its own.
    """
    if usage.is_sampled:
        return None
    made = {token.id for token in usage.tokens if token.num_uses}
    for token, parts in zip(reversed(usage.tokens), reversed(parents), strict=True):
        if token.id in made:
            made.update(parts)
    return sum(token.id not in made for token in usage.tokens)


def lexicon_warning(num_alone: int | None, usage: Usage) -> str | None:
    """Return what to tell a user whose corpus is small for so many tokens."""
    if not num_alone or num_alone < MIN_SHARE * len(usage.tokens):
        return None
    return (
        f"{num_alone:,} of the {len(usage.tokens):,} new tokens come from the lexicon alone: the corpus is small and "
        "never uses them. Pass more text, or ask for fewer tokens."
    )
