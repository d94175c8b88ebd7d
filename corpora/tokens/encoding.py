"""Encoding many documents fast, and exactly as ``hanlm.tokenizing.document_ids`` does."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hanlm.errors import InputError
from hanlm.log import say
from hanlm.model_folder import read_config
from hanlm.tokenizing import document_ids, load_tokenizer, tokenizer_hash

_PROBE = (
    "Hello, world! Text 123 with  two spaces\nand\tlines.\n\n    def f(x): return x",
    "　他说：“你好，世界！”——一九九八年１２月３１日……",
    "汉字\n\n换行 空格  🀄️ 龘𠮷 ﷽ é ▁ \u200d",
    " 前后有空格 ",
)


type EngineName = Literal["auto", "sentencepiece", "fast"]


class Encoder:
    """A folder's tokenizer, with the fastest library that gives the ids transformers gives.

    Measured on LLaMA's vocabulary extended to 55,296 and 6 MB of Chinese, one core: sentencepiece 18 MB/s into
    arrays and 15 into lists, tokenizers 6.3. sentencepiece does not know the added tokens, so a text that spells
    one (``</s>``) is always encoded by tokenizers.

    It encodes on one thread: documents are spread over processes instead (``corpora.tokens.pool``).

    Args:
        path: Folder with the tokenizer; a model's ``config.json`` in it tells how many rows the vocabulary
            has.
        engine: ``sentencepiece``, ``fast``, or ``auto``: the first where it agrees with the second.

    Raises:
        InputError: If there is no usable tokenizer, or the vocabulary is larger than the model's.
    """

    def __init__(self, path: Path, *, engine: EngineName = "auto") -> None:
        # Read by tokenizers when it first encodes in this process.
        os.environ["RAYON_NUM_THREADS"] = "1"
        self._tokenizer = load_tokenizer(path)
        self._fast = _fast_backend(self._tokenizer, path)
        self.tokenizer_hash = tokenizer_hash(path)
        self.vocab_size = _vocab_size(path, len(self._tokenizer))
        self.bos_token_id: int | None = _token_id(self._tokenizer.bos_token_id)
        self.eos_token_id = _require_eos(self._tokenizer, path)
        self._added = [token.content for token in self._fast.get_added_tokens_decoder().values()]
        self._pieces = None if engine == "fast" else _load_sentencepiece(path / "tokenizer.model")
        self._settle(path, required=engine == "sentencepiece")

    @property
    def engine(self) -> Literal["sentencepiece", "fast"]:
        """The library that encodes."""
        return "fast" if self._pieces is None else "sentencepiece"

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text as ``[bos] ids [eos]``: views of one array."""
        head = np.array([] if self.bos_token_id is None else [self.bos_token_id], dtype=np.int32)
        tail = np.array([self.eos_token_id], dtype=np.int32)
        plain = self._encode_plain(texts)
        ends = np.cumsum([len(head) + len(ids) + 1 for ids in plain])
        flat = np.concatenate([part for ids in plain for part in (head, ids, tail)]) if plain else tail[:0]
        return np.split(flat, ends[:-1]) if plain else []

    def reference(self, text: str) -> list[int]:
        """Return one text's ids as transformers gives them."""
        return document_ids(self._tokenizer, [text])[0]

    def agrees_on(self, texts: Sequence[str]) -> bool:
        """Say whether ``encode`` gives what transformers gives."""
        return [ids.tolist() for ids in self.encode(texts)] == document_ids(self._tokenizer, texts)

    def _encode_plain(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        if self._pieces is None:
            encoded = self._fast.encode_batch_fast(list(texts), add_special_tokens=False)
            return [np.array(e.ids, dtype=np.int32) for e in encoded]
        ids: list[NDArray[np.int32]] = self._pieces.encode(list(texts), num_threads=1, return_type="numpy")
        for i in self._that_spell_added_tokens(texts):
            ids[i] = np.array(self._fast.encode(texts[i], add_special_tokens=False).ids, dtype=np.int32)
        return ids

    def _that_spell_added_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the places of texts that spell an added token; most batches hold none, which one search tells."""
        whole = "\0".join(texts)
        spelled = [token for token in self._added if token in whole]
        return [i for i, text in enumerate(texts) if any(token in text for token in spelled)] if spelled else []

    def _settle(self, path: Path, *, required: bool) -> None:
        """Keep sentencepiece only if it is there and agrees on text of many kinds."""
        if self._pieces is not None and not self.agrees_on(_PROBE):
            self._pieces = None
            if not required:
                say(f"{path}/tokenizer.model disagrees with the tokenizer: encoding with tokenizers instead")
        if required and self._pieces is None:
            raise InputError(
                f"{path} has no tokenizer.model that agrees with its tokenizer; pass --engine fast or auto."
            )


def _fast_backend(tokenizer: Any, path: Path) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"{path} holds a tokenizer without tokenizer.json; convert it with transformers first.")
    backend.no_truncation()
    backend.no_padding()
    return backend


def _load_sentencepiece(path: Path) -> Any:
    """Return the SentencePiece model, or None where there is none or the file is of another kind."""
    if not path.is_file():
        return None
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except RuntimeError:  # Llama-3's tokenizer.model is a list of ranks, not SentencePiece
        return None


def _vocab_size(path: Path, num_tokens: int) -> int:
    if not (path / "config.json").is_file():
        return num_tokens
    num_rows = read_config(path).get("vocab_size", num_tokens)
    if num_rows < num_tokens:
        raise InputError(
            f"expected a tokenizer of at most {num_rows} tokens, the rows of the model in {path}, got "
            f"{num_tokens}; use the folder that extend-vocab wrote."
        )
    return num_rows


def _token_id(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _require_eos(tokenizer: Any, path: Path) -> int:
    if (eos := _token_id(tokenizer.eos_token_id)) is None:
        raise InputError(f"the tokenizer in {path} has no eos token to end documents with; add one to it first.")
    return eos
