"""Samples spread over a document, where reading all of it would cost too much."""

from collections.abc import Iterator


def spread_samples(text: str, num_chars: int, num_samples: int = 8) -> Iterator[str]:
    """Yield the text, or samples spread evenly from its start to its end, of ``num_chars`` together."""
    if len(text) <= num_chars:
        yield text
        return
    size = num_chars // num_samples
    for number in range(num_samples):
        start = number * (len(text) - size) // (num_samples - 1)
        yield text[start : start + size]
