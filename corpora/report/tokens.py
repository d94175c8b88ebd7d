"""Tokens per character of a tokenizer, on the samples of the kept documents, and what they say of the corpus."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def tokens_per_char(tokenizer: Path, kept: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the key ``tokens_per_char`` of ``report.json``.

    Args:
        tokenizer: Folder with the tokenizer.
        kept: Samples of the kept documents by domain, as the step ``kept`` wrote them.

    Raises:
        InputError: If there is no tokenizer, or it cannot be loaded.
    """
    from hanlm.tokenizing import load_tokenizer, tokenizer_hash

    loaded = load_tokenizer(tokenizer)
    domains: dict[str, dict[str, Any]] = {}
    for domain, samples in sorted(kept.items()):
        texts = [sample["text"] for sample in samples]
        ids: Any = loaded(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        domains[domain] = _ratio(len(texts), sum(map(len, texts)), sum(map(len, ids)))
    return {"tokenizer_hash": tokenizer_hash(tokenizer), "domains": domains}


def with_overall(measured: Mapping[str, Any], chars_kept: Mapping[str, int]) -> dict[str, Any]:
    """Return what was measured with ``overall``: every domain counts by the characters that it has in the corpus."""
    domains = measured["domains"]
    chars = {name: chars_kept[name] for name, each in domains.items() if each["tokens_per_char"] is not None}
    total = sum(chars.values())
    tokens = sum(count * domains[name]["tokens_per_char"] for name, count in chars.items())
    overall = {"chars": total, "tokens": round(tokens), "tokens_per_char": round(tokens / total, 4) if total else None}
    return {**measured, "overall": overall}


def _ratio(documents: int, chars: int, tokens: int) -> dict[str, Any]:
    ratio = round(tokens / chars, 4) if chars else None
    return {"documents": documents, "chars": chars, "tokens": tokens, "tokens_per_char": ratio}
