"""What each new token is worth in the end: how often text uses it, and how many of the base's tokens it replaces."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from tokenizer.compare import NamedTokenizer
from tokenizer.count import CorpusCount
from tokenizer.spelling import is_text

MAX_SAMPLED_CHARS: Final = 2_000_000
"""Of the held-out and of the training text (distinct segments), so much is tokenized once more: 0.8 CPU seconds."""

_BATCH: Final = 1024


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


def usage(base: NamedTokenizer, extended: NamedTokenizer, first_id: int, texts: Mapping[str, int]) -> Usage:
    """Count the uses of the tokens from ``first_id`` on, in texts with the number of times that each counts.

    When a piece was added it saved more than it does in the end: longer pieces that were added later take over part
    of its places, or all of them.
    """
    counts = _counts(extended, texts)
    spelled = {i: spelled for i, spelled in extended.spelling.items() if i >= first_id}
    costs = _base_costs(base, list(spelled.values()))
    tokens = [
        TokenUse(id=i, spelled=spelled[i], num_uses=counts[i], num_saved=counts[i] * (cost - 1))
        for i, cost in zip(spelled, costs, strict=True)
    ]
    return Usage(tokens, sum(len(text) * times for text, times in texts.items()))


def counted_texts(corpus: CorpusCount, plain: Callable[[str], str]) -> dict[str, int]:
    """Return held-out documents and the training text's segments with their counts, or an even sample of each domain's.

    It is drawn by the texts' hashes, so it depends neither on their order nor on the number of workers.

    Args:
        corpus: What was learned from and measured on.
        plain: Returns a segment as plain text.
    """
    texts: Counter[str] = Counter()
    for held_out in corpus.held_out.values():
        texts.update(_drawn(held_out, MAX_SAMPLED_CHARS // len(corpus.held_out)))
    for domain, found in corpus.segments.items():
        times = 1 / corpus.shares.get(domain, 1.0)
        for segment in _drawn(found, MAX_SAMPLED_CHARS // len(corpus.segments)):
            texts[plain(segment)] += round(found[segment] * times)
    return dict(texts)


def _drawn(texts: Collection[str], room: int) -> Iterator[str]:
    """Yield all texts, or about as many as ``room`` characters hold, drawn by their hashes."""
    one_in = -(-sum(map(len, texts)) // room)
    return (text for text in texts if crc32(text.encode("utf-8", "surrogatepass")) % one_in == 0)


def _counts(tokenizer: NamedTokenizer, texts: Mapping[str, int]) -> Counter[int]:
    counts: Counter[int] = Counter()
    # A line end keeps the space that SentencePiece puts before a text away from a segment, which began in mid-text.
    items = [("\n" + text, times) for text, times in texts.items()]
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        for ids, (_, times) in zip(tokenizer.encoder.encode([text for text, _ in batch]), batch, strict=True):
            for i in ids:
                counts[i] += times
    return counts


def _base_costs(base: NamedTokenizer, pieces: Sequence[bytes]) -> list[int]:
    """Return how many of the base's tokens spell each piece; bytes that are no text cost one each."""
    texts = ["\n" + (piece.decode() if is_text(piece) else "") for piece in pieces]
    (before,) = base.encoder.encode(["\n"])
    return [
        len(ids) - len(before) if is_text(piece) else len(piece)
        for piece, ids in zip(pieces, base.encoder.encode(texts), strict=True)
    ]
