"""tiktoken rank files (Llama-3's ``tokenizer.model``, ``qwen.tiktoken``): read, spelled out, and written.

A rank file holds tokens alone: lines of base64 and rank. What cuts the text before merging and which special tokens
follow is in the model's code, so it is given here for the families that publish such files.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from tokenizer.added_tokens import AddedToken, entries_of
from tokenizer.byte_alphabet import bytes_of, spelled

RANK_FILE: Final = "tokenizer.tiktoken"
"""What an extended rank file is called: ``tokenizer.model`` would be taken for SentencePiece's by most tools."""

_WORDS: Final = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}DIGITS",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


@dataclass(frozen=True, slots=True)
class Publisher:
    """What a family's code adds to its rank file."""

    name: str
    pattern: str
    """What cuts a text into words."""
    special: tuple[str, ...]
    """Tokens that follow the ranks, in order of id."""
    roles: Mapping[str, str]
    normalizer: str | None = None


def _reserved(first: int, last: int) -> list[str]:
    return [f"<|reserved_special_token_{i}|>" for i in range(first, last + 1)]


PUBLISHERS: Final = {
    128_000: Publisher(
        "Llama 3",
        _WORDS.replace("DIGITS", "{1,3}"),
        (
            "<|begin_of_text|>",
            "<|end_of_text|>",
            *_reserved(0, 3),
            "<|start_header_id|>",
            "<|end_header_id|>",
            *_reserved(4, 4),
            "<|eot_id|>",
            *_reserved(5, 250),
        ),
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
    ),
    151_643: Publisher(
        "Qwen",
        _WORDS.replace("DIGITS", ""),
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))),
        {"eos_token": "<|endoftext|>"},
        "NFC",
    ),
}
"""Number of ranks -> family. Sources: the tokenizers' code in Meta's llama3 and in Qwen's first model repositories."""


def read_ranks(content: bytes) -> dict[bytes, int] | None:
    """Return token -> rank, or None where the content is no rank file."""
    ranks: dict[bytes, int] = {}
    try:
        for line in content.splitlines():
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
    except (ValueError, binascii.Error):
        return None
    return ranks or None


def fast_of_ranks(path: Path, ranks: Mapping[bytes, int]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return the contents of ``tokenizer.json`` for a rank file, and the roles of its special tokens.

    Raises:
        InputError: If it is of no family that is known, or not whole.
    """
    publisher = PUBLISHERS.get(len(ranks))
    if publisher is None or sorted(ranks.values()) != list(range(len(ranks))):
        known = ", ".join(f"{p.name}'s {size:,}" for size, p in PUBLISHERS.items())
        raise InputError(
            f"{path} is a tiktoken rank file of {len(ranks):,} tokens; expected one whose rules are known ({known}): "
            "pass the model's tokenizer.json instead."
        )
    vocabulary = {spelled(token): rank for token, rank in ranks.items()}
    special = entries_of(AddedToken(i, content) for i, content in enumerate(publisher.special, len(ranks)))
    words = {
        "type": "Split",
        "pattern": {"Regex": publisher.pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    fast = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": publisher.normalizer} if publisher.normalizer else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, level]},
        "post_processor": _beginning(publisher, len(ranks)),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,  # a word that is a token is that token, as in tiktoken
            "vocab": vocabulary,
            "merges": _merges(ranks),
        },
    }
    return fast, publisher.roles


def write_rank_file(path: Path, vocabulary: Mapping[str, int]) -> None:
    """Write the tokens that spell bytes with their ids as ranks; between them are the ids of the special tokens."""
    tokens = sorted((token, data) for piece, token in vocabulary.items() if (data := bytes_of(piece)) is not None)
    path.write_bytes(b"".join(b"%s %d\n" % (base64.b64encode(data), token) for token, data in tokens))


def _merges(ranks: Mapping[bytes, int]) -> list[list[str]]:
    """Return every split of every token into two, best rank first: what tiktoken merges without saying so."""
    return [
        [spelled(token[:cut]), spelled(token[cut:])]
        for token in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]


def _beginning(publisher: Publisher, num_ranks: int) -> dict[str, Any] | None:
    bos = publisher.roles.get("bos_token")
    if bos is None:
        return None
    token = {"SpecialToken": {"id": bos, "type_id": 0}}
    text, other = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    again = {"SpecialToken": {"id": bos, "type_id": 1}}
    ids = {"id": bos, "ids": [num_ranks + publisher.special.index(bos)], "tokens": [bos]}
    return {
        "type": "TemplateProcessing",
        "single": [token, text],
        "pair": [token, text, again, other],
        "special_tokens": {bos: ids},
    }
