"""The two forms of a tokenizer, behind one pair of calls: texts to ids, ids to text."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any


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

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Return the ids of pre-tokens, as ``words`` gives them."""
        return [e.ids for e in self._model.encode_batch_fast(list(words), add_special_tokens=False)]

    def words(self, text: str) -> list[str]:
        """Return a text's pre-tokens, as the vocabulary spells them."""
        return [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(self.normalised(text))]

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
