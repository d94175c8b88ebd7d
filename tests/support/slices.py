"""Reading a source as the corpus pipeline does: slice by slice."""

from pathlib import Path

from corpora.sources.slices import Slice, list_slices, read_slice
from corpora.sources.source import Source
from hanlm.quarantine import Quarantine
from hanlm.records import Document

LARGE = 2**40
"""More bytes than any test file has: every file is one slice."""


def read_all(
    source: Source, slice_bytes: int = LARGE, quarantine_path: Path | None = None
) -> tuple[list[Document], Quarantine, list[Slice]]:
    """Return the documents of all slices of a source, what was set aside, and the slices."""
    with Quarantine(quarantine_path) as quarantine:
        slices = list_slices([source], slice_bytes)
        documents = [document for part in slices for document in read_slice(part, source, quarantine)]
    return documents, quarantine, slices


def texts_of(source: Source) -> list[str]:
    """Return the texts of a source from which nothing is set aside."""
    documents, quarantine, _ = read_all(source)
    assert not quarantine.counts, quarantine.counts
    return [document.text for document in documents]
