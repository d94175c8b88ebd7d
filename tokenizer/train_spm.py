"""A Chinese SentencePiece model trained on the corpus, for the classic merger."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from tokenizer.count import parted_documents
from tokenizer.pieces import has_strong
from tokenizer.proto import parse_proto
from tokenizer.sample import Sample

_SPARE: Final = 1.25
"""A model is trained larger than the budget by this, since the base has some of its pieces and some are left out."""

_MAX_LINES: Final = 2_000_000
"""Lines the trainer draws; it holds them in memory."""

_THREADS: Final = 16
"""However many cores there are: the unigram trainer sums each thread's share of the lines by itself, so another number
of threads gives other scores, while this one gives the same on one core as on many. It is SentencePiece's own
default."""


def train_spm(
    paths: Sequence[Path],
    kind: Literal["unigram", "bpe"],
    num_tokens: int,
    *,
    sample: Sample,
    seed: int,
) -> Any:
    """Return the ``ModelProto`` of a model with somewhat more than ``num_tokens`` pieces.

    Raises:
        InputError: If the corpus has more characters than pieces are allowed, or too little text.
    """
    import sentencepiece

    sentencepiece.set_random_generator_seed(seed)
    file = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
            sentence_iterator=_lines(paths, sample),
            model_writer=file,
            model_type=kind,
            vocab_size=int(num_tokens * _SPARE),
            character_coverage=0.9995,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            split_digits=True,
            hard_vocab_limit=False,
            input_sentence_size=_MAX_LINES,
            shuffle_input_sentence=True,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(
            f"sentencepiece cannot train a {kind} model of {num_tokens} tokens on this corpus ({error}); each of the "
            "corpus's characters takes one: pass a larger --num-new-tokens, or a smaller one for so little text."
        ) from None
    return parse_proto(file.getvalue())


def _lines(paths: Sequence[Path], sample: Sample) -> Iterator[str]:
    for path in paths:
        for document, is_held_out in parted_documents(path, Quarantine()):
            if not is_held_out and sample.takes(document):
                yield from (line for line in document.text.split("\n") if has_strong(line))
