"""The steps of extend-vocab, in order; everything is verified before the first file is written."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hanlm.counts import by_reason
from hanlm.errors import InputError
from hanlm.log import say
from hanlm.model_folder import num_base_tokens
from hanlm.publish import Draft
from hanlm.quarantine import Quarantine, kept_quarantine
from hanlm.tokenizing import tokenizer_hash
from tokenizer.base import Base
from tokenizer.compare import NamedTokenizer
from tokenizer.cost import advised_shape
from tokenizer.count import CorpusCount, Segments, count_corpus
from tokenizer.extend import FITTED, ExtendConfig
from tokenizer.forms import Forms
from tokenizer.measure import measure, measure_base
from tokenizer.model import require_memory, vocabulary_matrices, write_model
from tokenizer.new_pieces import new_pieces
from tokenizer.pieces import has_strong
from tokenizer.pruned_base import find_spare_tokens
from tokenizer.report import write_report
from tokenizer.result import Result
from tokenizer.rows import RowPlan, Start, plan_rows
from tokenizer.sample import plan_sample
from tokenizer.swap import swapped_pieces
from tokenizer.verify import Verification, verify
from tokenizer.write import write_card, write_tokenizer


def build(config: ExtendConfig, base: Base, compared: Sequence[NamedTokenizer], draft: Draft) -> None:
    """Write the extended tokenizer, the model with more rows, and the report into the draft's folder."""
    workers = config.num_workers
    # What must be refused is refused before the long part: costs that are not known, matrices that cannot be used.
    if config.num_new_tokens == "auto":
        advised_shape(base, config.advise_for)
    if base.config is not None:
        vocabulary_matrices(base)
        if config.init in FITTED:
            require_memory(base, config.init)
    if (num_original := _num_original(base)) is not None:
        say(f"{base.path} was extended before: it had {num_original:,} tokens then, and has {base.num_tokens:,} now")
    given, spare = base, find_spare_tokens(base, config.corpus, workers) if config.prune else None
    segments = partial(base.segments, pieces=config.pieces)
    with kept_quarantine(draft) as quarantine:
        corpus = _count(config, draft, quarantine, segments)
    if config.corpus:
        left_out = f"; {by_reason(quarantine.counts)} left out, see quarantine.jsonl" if quarantine.counts else ""
        say(f"read {corpus.num_documents:,} documents: {corpus.num_distinct:,} distinct segments of Chinese{left_out}")
    held_out = measure_base(base.forms(workers), corpus.held_out)
    if spare is not None and config.num_new_tokens is not None:
        (vocabulary, spare), advice = swapped_pieces(config, spare, corpus, workers), None
    else:
        vocabulary, advice = new_pieces(config, base, corpus, held_out, workers)
    pruned = None
    if spare is not None:
        pruned = spare.without(len(vocabulary.pieces) or None, draft.work / "pruned" / given.path.name)
        base = pruned.base
    old, new = base.forms(workers), vocabulary.on(base, workers)
    verification = _verify(config, base, old, new, corpus)
    write_tokenizer(base, new, draft.folder)
    # A swap keeps the base's rows, padding among them.
    min_rows = (given.config or {}).get("vocab_size", 0) if pruned is not None and vocabulary.pieces else 0
    num_rows = _write_model(config, base, old, new, corpus, draft, min_rows)
    result = Result(
        base=base,
        old=old if pruned is None else pruned.old,
        new=new,
        corpus=corpus,
        vocabulary=vocabulary,
        verification=verification,
        held_out=held_out,
        measure=measure(held_out, new, vocabulary),
        advice=advice,
        num_requested=len(vocabulary.pieces) if config.num_new_tokens == "auto" else config.num_new_tokens,
        num_rows=num_rows,
        num_original=_num_original(base),
        quarantined=dict(quarantine.counts),
        pruned=pruned,
        compared=compared,
    )
    if warning := write_report(draft.folder, result).warning:
        say(warning)
    if result.measure is not None and vocabulary.pieces:
        ratios = result.measure.overall.ratios()
        seen = "" if corpus.is_held_out else f", measured on {corpus.measured_on}"
        untrained = "; the new rows are untrained: continue with hanlm pretrain" if num_rows else ""
        say(f"{ratios['base']:.3f} -> {ratios['extended']:.3f} tokens per character of Chinese text{seen}{untrained}")
    elif pruned is not None:
        say(f"{pruned.old.num_tokens:,} -> {base.num_tokens:,} tokens; the corpus's text is tokenized as before")
    draft.tokenizer_hash = tokenizer_hash(draft.folder)
    draft.record(counts={"documents_in": corpus.num_documents, "quarantined": result.quarantined})


def _num_original(base: Base) -> int | None:
    """Return how many tokens a base had before it was extended; None where it never was, though perhaps pruned."""
    found = num_base_tokens(base.path)
    return found if found is not None and found < base.num_tokens else None


def _count(config: ExtendConfig, draft: Draft, quarantine: Quarantine, segments: Segments) -> CorpusCount:
    if not config.corpus:
        return CorpusCount()
    sample = plan_sample(config.corpus, config.max_chars)
    draft.record(sample=sample.as_record())
    to_learn = config.num_new_tokens is not None or not config.prune
    return count_corpus(
        config.corpus,
        quarantine,
        segments,
        sample=sample,
        to_learn=to_learn,
        max_quarantined=config.max_quarantined,
    )


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
    say(f"verified {verification.num_tokens_checked:,} tokens and {verification.num_texts:,} texts: no fault")
    return verification


def _write_model(
    config: ExtendConfig, base: Base, old: Forms, new: Forms, corpus: CorpusCount, draft: Draft, min_rows: int
) -> int | None:
    """Write weights, configuration and card, if the base has weights; returns the padded vocabulary size."""
    if base.config is None:
        return None
    plan = _plan_rows(config, base, old, new)
    num_rows = write_model(base, draft.folder, plan, config.pad_to_multiple, min_rows)
    if plan.num_new:
        spelled = new.spelled_by(old, base.num_tokens)
        is_fitted = config.resolved_init in FITTED and _fit_rows(config, base, spelled, corpus, draft.folder)
        draft.record(init=config.resolved_init if is_fitted else _start(config))
    merged = f"merged from `{config.spm.name}`" if config.spm else f"learned from {corpus.num_documents} documents"
    write_card(base, draft.folder, merged, plan.num_new)
    return num_rows


def _plan_rows(config: ExtendConfig, base: Base, old: Forms, new: Forms) -> RowPlan:
    """Return how the new rows start, before any fitting."""
    start = _start(config)
    parents = new.merge_parents(base.num_tokens) if start == "merge-tree" else new.spelled_by(old, base.num_tokens)
    return plan_rows(start, parents, base.num_tokens, config.seed)


def _start(config: ExtendConfig) -> Start:
    """Return the way in which rows start, whatever they are fitted to afterwards."""
    way = config.resolved_init
    if way not in ("auto", "calibrated", "distilled", "merge-tree"):
        return way
    return "sub-token-mean" if config.compatible else "merge-tree"  # the published pieces have no merge tree


def _fit_rows(
    config: ExtendConfig, base: Base, spelled: Sequence[Sequence[int]], corpus: CorpusCount, folder: Path
) -> bool:
    """Fit the new rows of a model that is written to the corpus's Chinese text; says whether it could.

    Raises:
        InputError: If the model cannot be loaded although the way was asked for by name.
    """
    from tokenizer.fit_rows import fit_rows

    texts = [text for text in corpus.sample.texts or corpus.some_held_out() if has_strong(text)]
    foreign = [line for line in corpus.foreign_lines if any(char.isalpha() for char in line)]
    way = config.resolved_init
    if not texts:
        say(f"the new rows start by {_start(config)} instead of {way}: there is no text to fit them to")
        return False
    say(f"fitting the new rows to the corpus's text ({way})")
    try:
        require_memory(base, way)
        fit_rows(folder, way, texts, spelled, base.num_tokens, config.seed, config.init_steps, foreign)
    except InputError as error:
        if config.init != "auto":
            raise
        say(f"the new rows start by {_start(config)} instead of {way}: {error}")
        return False
    return True
