"""What each new token is worth in the end: how often text uses it, and how many of the base's tokens it replaces."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tokenizer.compare import NamedTokenizer
from tokenizer.count import CorpusCount
from tokenizer.spelling import is_text
from tokenizer.token_counts import MAX_SAMPLED_CHARS, drawn, drawn_segments, sampling_step, token_counts


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenUse:
    """One new token, as it is used when all others are there too."""

    id: int
    spelled: bytes
    num_uses: int
    num_saved: int
    """Tokens of the base that its uses replace, less its uses."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Every new token, in order of id, on the same text."""

    tokens: list[TokenUse]
    num_chars: int
    """Characters of the text that uses were counted on."""
    is_sampled: bool
    """Whether that was a sample, in which a rare token may be missing."""


@dataclass(frozen=True, slots=True)
class CountedTexts:
    """The text that uses are counted on."""

    texts: Counter[str]
    """Text -> how often it counts."""
    is_sampled: bool
    """Whether any part of the corpus was left out."""


def usage(base: NamedTokenizer, extended: NamedTokenizer, first_id: int, counted: CountedTexts) -> Usage:
    """Count the uses of the tokens from ``first_id`` on.

    When a piece was added it saved more than it does in the end: longer pieces that were added later take over part
    of its places, or all of them.
    """
    counts: list[int] = token_counts(extended.encoder, extended.num_tokens, counted.texts).tolist()
    spelled = {i: spelled for i, spelled in extended.spelling.items() if i >= first_id}
    costs = _base_costs(base, list(spelled.values()))
    tokens = [
        TokenUse(id=i, spelled=spelled[i], num_uses=counts[i], num_saved=counts[i] * (cost - 1))
        for i, cost in zip(spelled, costs, strict=True)
    ]
    return Usage(tokens, sum(len(text) * times for text, times in counted.texts.items()), counted.is_sampled)


def counted_texts(corpus: CorpusCount, plain: Callable[[str], str]) -> CountedTexts:
    """Return held-out documents and the training text's segments with their counts, or an even sample of each domain's.

    Args:
        corpus: What was learned from and measured on.
        plain: Returns a segment as plain text.
    """
    steps = _sampling_steps(corpus.segments)
    texts = drawn_segments(corpus, plain, steps)
    steps_held_out = _sampling_steps(corpus.held_out)
    for domain, held_out in corpus.held_out.items():
        texts.update(drawn(held_out, steps_held_out[domain]))
    is_sampled = any(step > 1 for step in (*steps.values(), *steps_held_out.values()))
    return CountedTexts(texts, is_sampled or any(share < 1 for share in corpus.shares.values()))


def _sampling_steps(domains: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Return in how many of each domain's texts one is drawn, so that all domains have as much of the sample."""
    return {name: sampling_step(texts, MAX_SAMPLED_CHARS // len(domains)) for name, texts in domains.items()}


def _base_costs(base: NamedTokenizer, pieces: Sequence[bytes]) -> list[int]:
    """Return how many of the base's tokens spell each piece; bytes that are no text cost one each."""
    texts = ["\n" + (piece.decode() if is_text(piece) else "") for piece in pieces]
    (before,) = base.encoder.encode(["\n"])
    return [
        len(ids) - len(before) if is_text(piece) else len(piece)
        for piece, ids in zip(pieces, base.encoder.encode(texts), strict=True)
    ]
