"""The two forms of a tokenizer, behind one pair of calls: texts to ids, ids to text."""

import json
from collections.abc import Sequence
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
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_str(json.dumps(contents, ensure_ascii=False))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, without bos and eos."""
        return [e.ids for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_bare(self, piece: str) -> list[int]:
        """Return the ids of a piece as it stands, without normalizer."""
        return [token.id for token in self._tokenizer.model.tokenize(piece)]

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)
