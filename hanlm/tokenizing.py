"""Tokenizers: known by a hash, loaded without code of their own, applied to documents."""

import json
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hanlm.errors import ArtifactError, InputError
from hanlm.model_folder import read_object, refuse_tokenizer_code

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HASHED_PARTS = ("model", "normalizer", "pre_tokenizer", "decoder", "added_tokens")


def tokenizer_hash(path: Path) -> str:
    """Return a hash of everything that decides how a folder's tokenizer turns text into ids.

    Taken over ``tokenizer.json`` (vocabulary, merges, normalizer, pre-tokenizer, decoder, added tokens) without
    the chat template and post-processor, so that SFT leaves it unchanged; over ``tokenizer.model`` where
    there is no other.

    Raises:
        InputError: If the folder has no tokenizer.
    """
    fast, slow = path / "tokenizer.json", path / "tokenizer.model"
    if fast.is_file():
        state = fast.stat()
        return _hash_of_parts(fast.resolve(), state.st_mtime_ns, state.st_size, state.st_ino)
    if slow.is_file():
        return sha256(slow.read_bytes()).hexdigest()
    raise InputError(f"{path} holds no tokenizer: expected tokenizer.json or tokenizer.model; check the path.")


@lru_cache(maxsize=8)
def _hash_of_parts(path: Path, *_state: int) -> str:
    """Return the hash of a ``tokenizer.json``; asked for several times in a command, and each takes 0.1 s."""
    parts = read_object(path)
    lasting = {key: parts.get(key) for key in _HASHED_PARTS}
    return sha256(json.dumps(lasting, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def require_same_tokenizer(a: str, a_hash: str | None, b: str, b_hash: str | None, remedy: str) -> None:
    """Raise ``ArtifactError`` unless both hashes are equal; ``a`` and ``b`` name their owners in the sentence."""
    if a_hash != b_hash:
        raise ArtifactError(
            f"the tokenizer of {a} ({_short(a_hash)}) is not the tokenizer of {b} ({_short(b_hash)}); {remedy}"
        )


def load_tokenizer(path: Path, *, trust_remote_code: bool = False) -> "PreTrainedTokenizerBase":
    """Load a folder's tokenizer with transformers, without running code of its own unless told to."""
    from transformers import AutoTokenizer

    if not path.is_dir():
        raise InputError(f"expected a folder with a tokenizer at {path}, but there is none; check the path.")
    if not (path / "merges.txt").is_file():  # older GPT-2-like folders bring that and vocab.json
        tokenizer_hash(path)  # says plainly when there is no tokenizer at all
    if not trust_remote_code:
        refuse_tokenizer_code(path)
    try:
        return AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise InputError(
            f"{path} holds a tokenizer that transformers cannot load ({type(error).__name__}: {error}); "
            "restore it from its source."
        ) from error


def context_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the id that stands before every document: bos, or eos for families without a bos.

    Raises:
        InputError: If the tokenizer has neither.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise InputError("the tokenizer has neither a bos nor an eos token; add one to its special_tokens_map.json.")


def pad_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the padding id: the tokenizer's own pad, else unk. Never eos, or the end would never be learned.

    Raises:
        InputError: If the tokenizer has neither.
    """
    for token in (tokenizer.pad_token_id, tokenizer.unk_token_id):
        if isinstance(token, int) and token != tokenizer.eos_token_id:
            return token
    raise InputError("the tokenizer has no pad or unk token apart from its eos; add a pad token to it first.")


def document_ids(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[list[int]]:
    """Return each text as a training document: ``[bos] ids [eos]``, bos left out where there is none."""
    bos, eos = cast("tuple[int | None, int | None]", (tokenizer.bos_token_id, tokenizer.eos_token_id))
    head, tail = [] if bos is None else [bos], [] if eos is None else [eos]
    batch = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return [[*head, *ids, *tail] for ids in cast("list[list[int]]", batch["input_ids"])]


def _short(value: str | None) -> str:
    return value[:12] if value else "none recorded"
