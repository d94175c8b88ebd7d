"""The steps of extend-vocab, in order; everything is verified before the first file is written."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hanlm.counts import by_reason
from hanlm.errors import InputError
from hanlm.log import say
from hanlm.model_folder import num_base_tokens
from hanlm.publish import Draft
from hanlm.quarantine import kept_quarantine
from hanlm.tokenizing import tokenizer_hash
from tokenizer.advice import MAX_ADVISED, Advice, advise
from tokenizer.base import Base
from tokenizer.compare import NamedTokenizer
from tokenizer.cost import advised_shape
from tokenizer.count import CorpusCount, count_corpus
from tokenizer.extend import ExtendConfig
from tokenizer.forms import Forms
from tokenizer.measure import measure
from tokenizer.merge import read_donor
from tokenizer.model import vocabulary_matrices, write_model
from tokenizer.report import write_report
from tokenizer.result import Result
from tokenizer.spm import SpmBase
from tokenizer.train_spm import train_spm
from tokenizer.verify import Verification, verify
from tokenizer.vocabulary import Vocabulary, learn_vocabulary, merge_vocabulary
from tokenizer.write import write_card, write_tokenizer


def build(config: ExtendConfig, base: Base, compared: Sequence[NamedTokenizer], draft: Draft) -> None:
    """Write the extended tokenizer, the model with more rows, and the report into the draft's folder."""
    workers = config.workers or os.cpu_count() or 1
    if config.num_new_tokens == "auto":
        advised_shape(base, config.advise_for)  # refuses a model whose costs are not known, likewise
    if base.config is not None:
        vocabulary_matrices(base)  # refuses a base without usable matrices before the long part
    num_original = num_base_tokens(base.path)
    if num_original is not None:
        say(f"{base.path} was extended before: it had {num_original:,} tokens then, and has {base.num_tokens:,} now")
    segments = partial(base.segments, pieces=config.pieces)
    with kept_quarantine(draft) as quarantine:
        corpus = count_corpus(config.corpus, quarantine, segments) if config.corpus else CorpusCount()
        quarantine.check(config.max_quarantined)
    if config.corpus:
        say(f"counted {corpus.num_distinct} distinct segments in {corpus.num_documents} documents")
    vocabulary, advice = _choose(config, base, corpus, workers)
    old, new = base.forms(workers), vocabulary.on(base, workers)
    verification = _verify(config, base, old, new, corpus)
    write_tokenizer(base, new, draft.folder)
    num_rows = _write_model(config, base, old, new, corpus, draft.folder)
    result = Result(
        base=base,
        old=old,
        new=new,
        corpus=corpus,
        vocabulary=vocabulary,
        verification=verification,
        measure=measure(old, new, corpus, vocabulary),
        advice=advice,
        num_requested=len(vocabulary.pieces) if config.num_new_tokens == "auto" else config.num_new_tokens,
        num_rows=num_rows,
        num_original=num_original,
        quarantined=dict(quarantine.counts),
        compared=compared,
    )
    write_report(draft.folder, result)
    draft.tokenizer_hash = tokenizer_hash(draft.folder)
    draft.record(counts={"documents_in": corpus.num_documents, "quarantined": result.quarantined})


def _choose(config: ExtendConfig, base: Base, corpus: CorpusCount, workers: int) -> tuple[Vocabulary, Advice | None]:
    if config.method == "merge-spm":
        return _merge(config, base, corpus, workers), None
    assert config.num_new_tokens is not None
    most = MAX_ADVISED if config.num_new_tokens == "auto" else config.num_new_tokens
    vocabulary = learn_vocabulary(base, corpus, config.pieces, config.prior, most, exponent=config.domain_exponent)
    found = len(vocabulary.pieces)
    advice = _advise(config, base, corpus, vocabulary, exhausted=found < most, workers=workers)
    if config.num_new_tokens == "auto":
        assert advice is not None
        say(" ".join(advice.explanation()))
        return vocabulary.cut(advice.recommended.num_new_tokens), advice
    if found < config.num_new_tokens:
        say(f"the corpus holds only {found} pieces worth adding, fewer than the {config.num_new_tokens} asked for")
    return vocabulary.cut(found), advice


def _advise(
    config: ExtendConfig, base: Base, corpus: CorpusCount, vocabulary: Vocabulary, *, exhausted: bool, workers: int
) -> Advice | None:
    """Return the advice; None where a number was given and the model is of a kind whose costs are not known."""
    try:
        shape = advised_shape(base, config.advise_for)
    except InputError as error:
        if config.num_new_tokens == "auto" or config.advise_for is not None:
            raise
        say(f"no advice on the size: {error}")
        return None
    return advise(base, corpus, vocabulary, shape, exhausted=exhausted, workers=workers)


def _merge(config: ExtendConfig, base: Base, corpus: CorpusCount, workers: int) -> Vocabulary:
    if not isinstance(base, SpmBase):
        raise InputError(
            f"--method merge-spm appends SentencePiece pieces, but {base.path} is byte-level; expected a base with "
            "a SentencePiece tokenizer.model: use the default method."
        )
    if config.spm is not None:
        donor = read_donor(config.spm)
    else:
        assert isinstance(config.num_new_tokens, int)
        donor = train_spm(config.corpus, config.spm_type, config.num_new_tokens, seed=config.seed, workers=workers)
    vocabulary = merge_vocabulary(
        base,
        corpus,
        donor,
        config.pieces,
        compatible=config.compatible,
        limit=None if config.num_new_tokens == "auto" else config.num_new_tokens,
        workers=workers,
    )
    left = by_reason({reason: len(pieces) for reason, pieces in vocabulary.left_out.items()})
    say(f"pieces: {len(vocabulary.pieces):,} merged, {left} left out")
    return vocabulary


def _verify(config: ExtendConfig, base: Base, old: Forms, new: Forms, corpus: CorpusCount) -> Verification:
    verification = verify(
        base,
        old,
        new,
        foreign_lines=list(corpus.foreign_lines),
        documents=[*corpus.documents, *corpus.some_held_out()],
        seed=config.seed,
    )
    if config.compatible:  # its faults are what the published merge is known for: counted, not mended
        say(f"faults of the published merge: {verification.failures() or 'none'}")
        return verification
    verification.require_clean()
    say(f"verified {verification.num_tokens_checked} tokens and {verification.num_texts} texts: no fault")
    return verification


def _write_model(
    config: ExtendConfig, base: Base, old: Forms, new: Forms, corpus: CorpusCount, folder: Path
) -> int | None:
    """Write weights, configuration and card, if the base has weights; returns the padded vocabulary size."""
    if base.config is None:
        return None
    # The published merge's pieces have no merge tree.
    parents = new.spelled_by(old, base.num_tokens) if config.compatible else new.merge_parents(base.num_tokens)
    num_rows = write_model(base, folder, parents, config.pad_to_multiple, config.seed)
    merged = f"merged from `{config.spm.name}`" if config.spm else f"learned from {corpus.num_documents} documents"
    write_card(base, folder, merged, len(parents))
    return num_rows
