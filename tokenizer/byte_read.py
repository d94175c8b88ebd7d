"""A byte-level base from ``tokenizer.json`` or a rank file; other kinds are recognised and refused."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from tokenizer.added_tokens import token_fields
from tokenizer.base import check_size
from tokenizer.byte_alphabet import RARE_BYTES, missing_bytes
from tokenizer.byte_level import ByteBase
from tokenizer.encode import Fast
from tokenizer.pieces import has_strong
from tokenizer.rank_file import RANK_FILE, fast_of_ranks

_OTHER_KINDS: Final = {
    "Unigram": "a Unigram tokenizer (as T5, XLM-R and XLNet have): its pieces compete by probability, so new ones "
    "would change how old text is cut",
    "WordPiece": "a WordPiece tokenizer (as BERT has): it takes the longest match, so new pieces would change how "
    "old text is cut",
    "WordLevel": "a word list, which has no parts to merge",
}


def byte_base_of_json(path: Path, fast: dict[str, Any], folder: Path | None, config: dict[str, Any] | None) -> ByteBase:
    """Return the base that a ``tokenizer.json`` describes, with what stands beside it in a folder.

    Raises:
        InputError: If it is not byte-level BPE, or its parts disagree.
    """
    _check_kind(path, fast)
    base = ByteBase(
        path=path,
        fast=fast,
        config=config,
        rank_file=RANK_FILE if folder is not None and (folder / RANK_FILE).is_file() else None,
        pair_files=folder is not None and (folder / "merges.txt").is_file(),
        **token_fields(path, folder, fast["model"]["vocab"], fast),
    )
    check_size(base)
    return base


def byte_base_of_ranks(
    path: Path, ranks: Mapping[bytes, int], folder: Path | None, config: dict[str, Any] | None
) -> ByteBase:
    """Return the base that a tiktoken rank file describes."""
    fast, roles = fast_of_ranks(path, ranks)
    base = byte_base_of_json(path, fast, folder, config)
    unnamed = {role: token for role, token in roles.items() if role not in base.special_tokens}
    return replace(base, rank_file=RANK_FILE, special_tokens=base.special_tokens | unnamed)


def _check_kind(path: Path, fast: dict[str, Any]) -> None:
    model = fast["model"]
    kind = model.get("type") or ("BPE" if "merges" in model else "Unigram")
    if kind != "BPE":
        what = _OTHER_KINDS.get(kind, f"of kind {kind}")
        raise InputError(f"{path} is {what}; expected BPE: pass a LLaMA-like or byte-level base.")
    if not _is_byte_level(fast):
        raise InputError(
            f"{path} is a SentencePiece BPE as tokenizer.json alone; expected its tokenizer.model beside it, which "
            "holds the ranks: fetch that from the base's source."
        )
    _check_normalizer(path, fast)
    missing = [byte for byte in missing_bytes(model["vocab"]) if byte not in RARE_BYTES]
    if missing or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix") or model.get("dropout"):
        why = f"it lacks {len(missing)} of the 256 bytes" if missing else "it marks parts of words, or drops merges"
        raise InputError(f"{path} cannot be extended: {why}; expected a byte-level BPE such as GPT-2's or Llama-3's.")


def _check_normalizer(path: Path, fast: dict[str, Any]) -> None:
    """Refuse a normalizer that makes Chinese of other text (NFKC: ㍻, ⼈), which new tokens would then change."""
    step = fast.get("normalizer")
    if step is None:
        return
    # Without the vocabulary, which takes longer to load than this check.
    alone = Fast({"version": "1.0", "normalizer": step, "model": {"type": "BPE", "vocab": {}, "merges": []}})
    chars = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and chr(c) != "\n"]
    normalised = alone.normalised("\n".join(chars)).split("\n")
    differ = ((c, now) for c, now in zip(chars, normalised, strict=False) if now != c)
    changed = [c for c, now in differ if has_strong(now) and not has_strong(c)]
    if len(normalised) != len(chars) or changed:
        raise InputError(
            f"{path} normalises text in a way that makes Chinese of other characters ({' '.join(changed[:5])} …); "
            "expected no normalizer, or NFC: pass a base such as GPT-2, Llama-3 or Qwen."
        )


def _is_byte_level(fast: dict[str, Any]) -> bool:
    step = fast.get("pre_tokenizer") or {}
    return any(part.get("type") == "ByteLevel" for part in [step, *step.get("pretokenizers", [])])
