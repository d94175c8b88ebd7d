"""``extend-vocab``: add Chinese pieces to a LLaMA-like tokenizer, and rows for them to its model."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hanlm.artifact import publish, refuse_existing
from hanlm.errors import ConfigError
from hanlm.log import say
from hanlm.quarantine import MAX_QUARANTINED, Quarantine
from hanlm.records import list_files


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtendConfig:
    """Extend a tokenizer, and its model if it has one, with pieces learned from a corpus."""

    base: Path
    """What to extend: a model folder, or a bare SentencePiece `tokenizer.model`."""
    corpus: tuple[Path, ...]
    """Texts to learn from: corpora (their train split), jsonl with a `text` (and `domain`), txt, folders."""
    out: Path
    """Folder of the extended model, or of the tokenizer where the base has no weights."""
    num_new_tokens: int
    """How many tokens to add; fewer where the corpus holds no more."""
    pieces: Literal["han", "han+punct", "han+punct+space"] = "han+punct+space"
    """What new pieces may hold. With punctuation (and the space beside Chinese) text gets shorter."""
    prior: Literal["jieba", "none"] = "jieba"
    """Learn from jieba's dictionary too, so that everyday words of other domains are not missed."""
    pad_to_multiple: int = 1
    """Pad the model's vocabulary to a multiple of this; padding rows belong to no token."""
    seed: int = 0
    """Of the noise that sets the new characters' rows apart."""
    workers: int = 0
    """Threads; 0 takes every core. The result does not depend on it."""
    max_quarantined: float = MAX_QUARANTINED
    """Fail when a larger share of the records cannot be read."""
    trust_remote_code: bool = False
    """Accept a base that brings Python code of its own (it is copied, never run here)."""
    overwrite: bool = False
    """Replace a finished result."""

    def __post_init__(self) -> None:
        if self.num_new_tokens < 1:
            raise ConfigError(f"expected --num-new-tokens of at least 1, got {self.num_new_tokens}.")
        if self.pad_to_multiple < 1:
            raise ConfigError(f"expected --pad-to-multiple of at least 1, got {self.pad_to_multiple}.")
        if self.workers < 0:
            raise ConfigError(f"expected --workers of 0 (every core) or more, got {self.workers}.")
        if not 0 <= self.max_quarantined <= 1:
            raise ConfigError(f"expected --max-quarantined between 0 and 1, got {self.max_quarantined}.")
        if not self.corpus:
            raise ConfigError("expected texts to learn from, got none; pass --corpus PATH….")


def plan(config: ExtendConfig) -> list[str]:
    """Return what would happen, after checking the base and that there is text."""
    from tokenizer.base import read_base
    from tokenizer.model import vocabulary_matrices

    refuse_existing(config.out, config.overwrite)
    base = read_base(config.base, trust_remote_code=config.trust_remote_code)
    files = list_files(config.corpus)
    lines = [
        f"the base has {base.num_tokens} tokens; up to {config.num_new_tokens} are added",
        f"they are learned from {len(files)} files of {sum(f.stat().st_size for f in files)} bytes",
    ]
    if base.config is None:
        return [*lines, f"a tokenizer is written to {config.out}"]
    names = ", ".join(vocabulary_matrices(base))
    return [*lines, f"a model with more rows in {names} is written to {config.out}"]


def extend(config: ExtendConfig) -> Path:
    """Learn, verify and write the extended tokenizer, initialise the new rows, report; returns the artifact.

    Raises:
        InputError: If the base or the corpus cannot be used.
        VerificationError: If the new tokenizer breaks a promise; nothing is published then.
    """
    from hanlm.models import tokenizer_hash
    from tokenizer.base import read_base
    from tokenizer.count import count_corpus
    from tokenizer.fast import fast_tokenizer
    from tokenizer.measure import measure
    from tokenizer.model import vocabulary_matrices, write_model
    from tokenizer.report import Result, write_report
    from tokenizer.rows import piece_parents
    from tokenizer.spm import extended_proto
    from tokenizer.verify import verify
    from tokenizer.vocabulary import learn_vocabulary
    from tokenizer.write import write_card, write_tokenizer

    refuse_existing(config.out, config.overwrite)
    workers = config.workers or os.cpu_count() or 1
    base = read_base(config.base, trust_remote_code=config.trust_remote_code)
    if base.config is not None:
        vocabulary_matrices(base)  # refuse a base without usable matrices before the long part
    inputs = {"base": config.base, **{f"corpus{i}": path for i, path in enumerate(config.corpus)}}
    list_files(config.corpus)
    kind = "tokenizer" if base.config is None else "model"
    with publish(
        config.out, kind=kind, config=config, inputs=inputs, seed=config.seed, overwrite=config.overwrite
    ) as draft:
        with Quarantine(draft.folder / "quarantine.jsonl") as quarantine:
            corpus = count_corpus(config.corpus, quarantine, config.pieces)
            quarantine.check(config.max_quarantined)
        say(f"counted {len(corpus.segments)} distinct segments in {corpus.num_documents} documents")
        learned = learn_vocabulary(base, corpus, config.pieces, config.prior, config.num_new_tokens)
        if (found := len(learned.pieces)) < config.num_new_tokens:
            say(f"the corpus holds only {found} pieces worth adding, fewer than the {config.num_new_tokens} asked for")
        proto = extended_proto(base, learned.pieces)
        fast = fast_tokenizer(base, proto)
        verification = verify(
            base,
            proto,
            fast,
            foreign_lines=list(corpus.foreign_lines),
            documents=[*corpus.documents, *corpus.some_held_out()],
            seed=config.seed,
            workers=workers,
        )
        verification.require_clean()
        say(f"verified {found} tokens and {verification.num_texts} texts: no fault")
        write_tokenizer(base, proto, fast, draft.folder)
        num_rows = None
        if base.config is not None:
            parents = piece_parents(proto, base.num_tokens)
            num_rows = write_model(base, draft.folder, parents, config.pad_to_multiple, config.seed)
            write_card(base, draft.folder, corpus, found)
        measured = measure(base, proto, corpus, learned, workers)
        write_report(
            draft.folder,
            Result(
                base=base,
                proto=proto,
                corpus=corpus,
                vocabulary=learned,
                verification=verification,
                measure=measured,
                num_requested=config.num_new_tokens,
                num_rows=num_rows,
                quarantined=dict(quarantine.counts),
            ),
        )
        draft.tokenizer_hash = tokenizer_hash(draft.folder)
        draft.record(counts={"documents_in": corpus.num_documents, "quarantined": dict(quarantine.counts)})
    return config.out
