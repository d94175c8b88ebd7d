"""The steps of ``hanlm corpus build``, document by document in a fixed order, so that a rerun is byte-
identical."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from corpora.build import BuildConfig, Source
from corpora.dedup.exact import ExactIndex
from corpora.exclusions import Exclusions, read_exclusions
from corpora.filters.plain import Filters
from corpora.funnel import Funnel
from corpora.shards import ShardWriter
from hanlm.errors import InputError, Interrupted
from hanlm.log import progress
from hanlm.quarantine import Quarantine
from hanlm.records import Document, read_documents
from hanlm.signals import stop_on_signal
from hanlm.text import content_digest, digest_in_valid_split, normalise

_DOCUMENTS_PER_ADVANCE = 500


def write_corpus(config: BuildConfig, sources: Sequence[Source], folder: Path, quarantine: Quarantine) -> Funnel:
    """Normalise, filter, deduplicate and split all documents into shards in ``folder``.

    Raises:
        InputError: If nothing survives, or too many records were quarantined.
        Interrupted: If a signal asked to stop.
    """
    funnel = Funnel(quarantine)
    selection = _Selection(config, funnel)
    with (
        stop_on_signal() as stop,
        progress(None, "corpus build: MB read") as bar,
        ShardWriter(folder, "train") as train,
        ShardWriter(folder, "valid") as valid,
    ):
        for number, document in enumerate(_documents(sources, quarantine), 1):
            if stop.requested:
                raise Interrupted("stopped; nothing was published: run the same command again.")
            if (kept := selection.clean(document)) is not None:
                (valid if kept[1] else train).write(kept[0])
            if number % _DOCUMENTS_PER_ADVANCE == 0:
                bar.advance(funnel.total("bytes_in") / 1e6 - bar.done, f"{number} documents")
    quarantine.check(config.max_quarantined)
    _require_survivors(funnel)
    return funnel


class _Selection:
    """Decides on one document after the other; remembers what it has seen."""

    def __init__(self, config: BuildConfig, funnel: Funnel) -> None:
        self._funnel = funnel
        self._valid_fraction = config.valid_fraction
        self._seen = ExactIndex()
        self._excluded = read_exclusions(config.exclude, config.max_quarantined) if config.exclude else Exclusions(())
        self._filters = Filters(
            min_chars=config.min_chars,
            max_chars=config.max_chars,
            min_han_ratio=config.min_han_ratio,
            max_han_ratio_other=config.max_han_ratio_other,
        )

    def clean(self, document: Document) -> tuple[Document, bool] | None:
        """Return the normalised document and whether it is held out, or None where it was dropped."""
        self._funnel.enter(document.domain, document.text)
        text = normalise(document.text)
        reason = self._filters.reason_to_drop(text, document.lang)
        digest = content_digest(text)
        if reason is None and text in self._excluded:
            reason = "excluded"
        if reason is None and self._seen.is_repeat(digest):
            reason = "duplicate"
        if reason is not None:
            self._funnel.dropped[reason] += 1
            return None
        is_valid = digest_in_valid_split(digest, self._valid_fraction)
        self._funnel.keep(document.domain, text, document.license, is_valid=is_valid)
        return replace(document, text=text), is_valid


def _documents(sources: Sequence[Source], quarantine: Quarantine) -> Iterator[Document]:
    for source in sources:
        yield from read_documents(
            [source.path],
            quarantine,
            txt_unit=source.txt_unit or "file",
            domain=source.domain,
            lang=source.lang,
            split="all",
        )


def _require_survivors(funnel: Funnel) -> None:
    if funnel.total("documents_kept") > funnel.total("documents_valid"):
        return
    if num_kept := funnel.total("documents_kept"):
        raise InputError(
            f"all {num_kept} documents that were kept fell into the held-out split, which leaves none "
            "to train on; pass more text or a smaller --valid-fraction."
        )
    counts = funnel.dropped + funnel.quarantine.counts
    reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.most_common()) or "no record was found"
    raise InputError(f"no document survived ({reasons}); check the input, --lang and the filters.")
