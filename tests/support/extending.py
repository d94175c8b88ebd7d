"""What tests of extend-vocab share: the command in one call, what its result holds, both forms of its tokenizer."""

import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tokenizer.extend import ExtendConfig, extend

LINE = "他打开信，读了两遍，又默默地放回抽屉里，什么也没有说。"


def extended(base: Path, corpus: Path, out: Path, *, num_new_tokens: int = 30, **options: Any) -> Path:
    """Extend a base by what the corpus alone says."""
    config = ExtendConfig(
        base=base, corpus=(corpus,), out=out, num_new_tokens=num_new_tokens, **{"prior": "none", **options}
    )
    return extend(config)


def report_of(folder: Path) -> dict[str, Any]:
    """Return what ``vocab_report.json`` holds."""
    return json.loads((folder / "vocab_report.json").read_text(encoding="utf-8"))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a model folder, whatever files they are in."""
    return {k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()}


class BothForms:
    """A folder's tokenizer as SentencePiece and as transformers load it."""

    def __init__(self, folder: Path) -> None:
        self.spm = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        self.fast = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        self.pieces = [self.spm.id_to_piece(i) for i in range(self.spm.vocab_size())]

    def ids(self, text: str) -> list[int]:
        """Return a text's ids without bos, which both forms must agree on."""
        ids = self.spm.encode(text)
        assert self.fast.encode(text, add_special_tokens=False) == ids
        return ids

    def decoded(self, ids: list[int]) -> set[str]:
        """Return what either form decodes ids to."""
        return {self.spm.decode(ids), self.fast.decode(ids, skip_special_tokens=False)}
