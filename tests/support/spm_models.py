"""SentencePiece models, trained in a moment."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def train_bpe(path: Path, lines: Iterable[str], vocab_size: int, **options: Any) -> Path:
    """Train a BPE model as LLaMA's, but for the options; returns the path."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
        **options,
    )
    path.write_bytes(model.getvalue())
    return path
