"""Merges of an extended byte-level vocabulary: every way to put a Chinese token together, at the token's rank.

A base written as merges (GPT-2, Qwen) puts a token together in one way only, one written as ranks (tiktoken's
Llama-3) in every way. New tokens are learned in the second manner, SentencePiece's too: what counts is the string. So
every split of a new token becomes a merge. The base's own Chinese tokens get their missing splits before all new
ones, as in learning, where text that becomes such a token is one at once.
"""

from collections.abc import Iterable, Mapping, Sequence

from tokenizer.byte_alphabet import bytes_of, is_strong

type Merge = tuple[str, str]


def extended_merges(vocabulary: Mapping[str, int], merges: Sequence[Merge], new: Sequence[str]) -> list[list[str]]:
    """Return the base's merges, those of its own Chinese tokens that it lacks, and those of the new tokens.

    Args:
        vocabulary: The base's tokens in the byte alphabet.
        merges: The base's, best rank first.
        new: New tokens in the byte alphabet, best rank first.
    """
    known = {*vocabulary, *new}
    listed = set(merges)
    strong = [token for token in ranked(vocabulary, merges) if is_strong(bytes_of(token) or b"")]
    added = [merge for merge in _splits([*strong, *new], known) if merge not in listed]
    return [list(merge) for merge in [*merges, *added]]


def ranked(vocabulary: Mapping[str, int], merges: Sequence[Merge]) -> list[str]:
    """Return the tokens that spell bytes, best rank first: bytes, then what each merge makes."""
    made = dict.fromkeys(left + right for left, right in merges)
    spelled = [token for token in sorted(vocabulary, key=vocabulary.__getitem__) if bytes_of(token) is not None]
    return [token for token in spelled if token not in made] + [token for token in made if token in vocabulary]


def _splits(tokens: Iterable[str], known: set[str]) -> Iterable[Merge]:
    for token in tokens:
        for cut in range(1, len(token)):
            if token[:cut] in known and token[cut:] in known:
                yield token[:cut], token[cut:]
