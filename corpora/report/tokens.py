"""Tokens per character of a tokenizer, on the samples of the kept documents."""

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
    totals = [sum(each[name] for each in domains.values()) for name in ("documents", "chars", "tokens")]
    return {"tokenizer_hash": tokenizer_hash(tokenizer), "overall": _ratio(*totals), "domains": domains}


def _ratio(documents: int, chars: int, tokens: int) -> dict[str, Any]:
    ratio = round(tokens / chars, 4) if chars else None
    return {"documents": documents, "chars": chars, "tokens": tokens, "tokens_per_char": ratio}
