"""The two forms of a tokenizer, behind one pair of calls: texts to ids, ids to text."""

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import batched, chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BATCH_WORDS: Final = 1 << 16


class SentencePiece:
    """A ``ModelProto`` as SentencePiece itself runs it."""

    def __init__(self, proto: Any, workers: int = 1) -> None:
        import sentencepiece

        self._processor: Any = sentencepiece.SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(proto.SerializeToString())
        self._workers = workers

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, without bos and eos."""
        return self._processor.encode(list(texts), num_threads=self._workers) if texts else []

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        return self._processor.decode(ids)

    def count(self, texts: Sequence[str]) -> int:
        """Return how many tokens the texts have together."""
        return sum(map(len, self.encode(texts)))


class Fast:
    """The contents of a ``tokenizer.json`` as Hugging Face tokenizers runs it."""

    def __init__(self, contents: dict[str, Any]) -> None:
        # A file may bring what cuts or fills up training batches: neither is part of the tokenizer.
        self._contents: dict[str, Any] = contents | {"truncation": None, "padding": None}

    @cached_property
    def _tokenizer(self) -> Any:
        return _tokenizer_of(self._contents)

    @cached_property
    def _merger(self) -> Any:
        """The model alone, made to merge even words that are tokens."""
        model = self._contents["model"] | {"ignore_merges": False}
        return _tokenizer_of({"version": "1.0", "added_tokens": [], "model": model})

    @cached_property
    def _model(self) -> Any:
        return _tokenizer_of({"version": "1.0", "added_tokens": [], "model": self._contents["model"]})

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, without bos and eos."""
        return [e.ids for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_bare(self, piece: str) -> list[int]:
        """Return the ids of a piece as it stands, merged without normalizer and pre-tokenizer."""
        return [token.id for token in self._merger.model.tokenize(piece)]

    def encode_words(self, words: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the ids of pre-tokens as ``words`` spells them, one after the other, and how many each has."""
        ids, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for batch in batched(words, _BATCH_WORDS):  # the library's answers are large
            encoded = self._model.encode_batch_fast(list(batch), add_special_tokens=False)
            lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
            ids.append(np.fromiter(chain.from_iterable(e.ids for e in encoded), np.int32, int(lengths[-1].sum())))
        return np.concatenate(ids), np.concatenate(lengths)

    def words(self, text: str) -> list[tuple[str, str]]:
        """Return a text's pre-tokens: as the vocabulary spells them, and what they are in the normalised text."""
        text = self.normalised(text)
        return [(word, text[a:b]) for word, (a, b) in self._tokenizer.pre_tokenizer.pre_tokenize_str(text)]

    def normalised(self, text: str) -> str:
        """Return a text as the normalizer leaves it."""
        normalizer = self._tokenizer.normalizer
        return normalizer.normalize_str(text) if normalizer is not None else text

    def vocabulary(self) -> dict[str, int]:
        """Return piece -> id, added tokens among them."""
        return self._tokenizer.get_vocab(with_added_tokens=True)

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)


def _tokenizer_of(contents: dict[str, Any]) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(contents, ensure_ascii=False))
