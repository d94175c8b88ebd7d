"""The steps of extend-vocab, in order; everything is verified before the first file is written."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hanlm.log import say
from hanlm.model_folder import num_base_tokens
from hanlm.publish import Draft
from hanlm.quarantine import Quarantine, kept_quarantine
from hanlm.tokenizing import tokenizer_hash
from tokenizer.base import Base
from tokenizer.compare import NamedTokenizer
from tokenizer.cost import advised_shape
from tokenizer.count import CorpusCount, Segments, count_corpus
from tokenizer.extend import ExtendConfig
from tokenizer.forms import Forms
from tokenizer.measure import measure
from tokenizer.model import vocabulary_matrices, write_model
from tokenizer.new_pieces import new_pieces
from tokenizer.report import write_report
from tokenizer.result import Result
from tokenizer.sample import plan_sample
from tokenizer.swap import Pruning, prune
from tokenizer.verify import Verification, verify
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
    base, pruning = _pruned(config, base, draft)
    segments = partial(base.segments, pieces=config.pieces)
    with kept_quarantine(draft) as quarantine:
        corpus = _count(config, draft, quarantine, segments)
        quarantine.check(config.max_quarantined)
    if config.corpus:
        say(f"counted {corpus.num_distinct} distinct segments in {corpus.num_documents} documents")
    most = len(pruning.dropped) if pruning is not None else None
    vocabulary, advice = new_pieces(config, base, corpus, workers, most=most)
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
        pruning=pruning,
        compared=compared,
    )
    write_report(draft.folder, result)
    draft.tokenizer_hash = tokenizer_hash(draft.folder)
    draft.record(counts={"documents_in": corpus.num_documents, "quarantined": result.quarantined})


def _pruned(config: ExtendConfig, base: Base, draft: Draft) -> tuple[Base, Pruning | None]:
    """Return the base to extend: what was given, or that without its unused tokens."""
    if not config.prune:
        return base, None
    assert config.num_new_tokens != "auto"
    pruning = prune(base, config.corpus, config.num_new_tokens, draft.work / "pruned" / base.path.name)
    return pruning.base, pruning


def _count(config: ExtendConfig, draft: Draft, quarantine: Quarantine, segments: Segments) -> CorpusCount:
    if not config.corpus:
        return CorpusCount()
    sample = plan_sample(config.corpus, config.max_chars)
    draft.record(sample=sample.as_record())
    to_learn = config.num_new_tokens is not None
    return count_corpus(config.corpus, quarantine, segments, sample=sample, to_learn=to_learn)


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
