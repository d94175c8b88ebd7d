"""The demo base's vocabulary: a SentencePiece BPE in LLaMA's form, and a fast tokenizer.json that agrees with it."""

import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
"""In the order of their ids, from 0. The pad is a token of its own: as eos it would teach the model never to stop."""

# What pieces may be spelled with: ASCII, accented Latin letters and the usual typographic signs. All else is bytes.
_NOT_LATIN = re.compile("[^\x20-\x7e\u00a1-\u017f–—‘’“”•…]+")
_MAX_LINE_BYTES = 16_384


def train_vocabulary(texts: Iterable[str], vocab_size: int) -> bytes:
    """Return a ``tokenizer.model``: BPE with byte fallback, split digits, a dummy prefix and untouched white space.

    Args:
        texts: Documents; trained on by line, so a newline is never part of a piece (LLaMA's form: it is a byte).
        vocab_size: Pieces in all, with the 4 special and the 256 byte tokens.

    Raises:
        RuntimeError: From SentencePiece, when the text is too small for ``vocab_size``.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_latin_lines(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        character_coverage=0.9999,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        add_dummy_prefix=True,
        max_sentence_length=_MAX_LINE_BYTES,
        num_threads=2,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=3,
        pad_piece="<pad>",
        minloglevel=2,
    )
    return model.getvalue()


def write_tokenizer(model: bytes, folder: Path, max_length: int) -> None:
    """Write ``tokenizer.model`` and the files that transformers reads.

    The ``tokenizer.json`` is spelled out in full rather than converted on loading: transformers' LLaMA class would
    replace its normaliser and lose leading spaces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    _write_json(folder / "tokenizer.json", _fast_tokenizer(model))
    config = {
        **SPECIAL_TOKENS,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": False,
        "padding_side": "right",
    }
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "special_tokens_map.json", SPECIAL_TOKENS)


def _latin_lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.split("\n"):
            for run in _NOT_LATIN.split(line):
                if run.strip():
                    yield run


def _fast_tokenizer(model: bytes) -> dict[str, Any]:
    import sentencepiece

    spm = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [spm.id_to_piece(i) for i in range(spm.get_piece_size())]
    is_learned = [not (spm.is_byte(i) or spm.is_control(i) or spm.is_unknown(i)) for i in range(len(pieces))]
    scores = {piece: spm.get_score(i) for i, piece in enumerate(pieces) if is_learned[i]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(i, token) for i, token in enumerate(SPECIAL_TOKENS.values())],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": _prepend_bos(),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": _merges(scores),
        },
    }


def _merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """Return every split of every piece into two pieces, in the order in which SentencePiece would join them."""
    by_score = sorted(scores, key=lambda piece: -scores[piece])
    splits = ((piece[:i], piece[i:]) for piece in by_score for i in range(1, len(piece)))
    return [(left, right) for left, right in splits if left in scores and right in scores]


def _added_token(token_id: int, content: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": content, **flags}


def _prepend_bos() -> dict[str, Any]:
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [bos, first],
        "pair": [bos, first, second],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
