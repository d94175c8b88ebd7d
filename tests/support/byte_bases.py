"""Byte-level BPE tokenizers of every family's shape, trained in a moment."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tokenizer.rank_file import PUBLISHERS

WORDS = PUBLISHERS[128_000].pattern


def split(pattern: str) -> Any:
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), level])


def gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


FAMILIES = {
    "gpt2": (None, gpt2()),
    "llama3": (None, split(WORDS)),
    "qwen": (normalizers.NFC(), split(WORDS.replace("{1,3}", ""))),
    "smollm": (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2()])),
    "bloom": (None, split(r" ?[^(\s|[.,!?…。，、।۔،])]+")),
}


def make_base(folder: Path, family: str, lines: list[str], vocab_size: int = 420) -> Path:
    """Train a byte-level tokenizer of a family's shape and write it as transformers does."""
    folder.mkdir()
    normalizer, pre_tokenizer = FAMILIES[family]
    tokenizer = Tokenizer(models.BPE(ignore_merges=family == "llama3"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True), AddedToken("<|pad|>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
