"""Documents out of parallel text: a file of pairs, each a text and its translation."""

from collections.abc import Iterator
from dataclasses import replace

from corpora.parallel import parallel_documents
from corpora.sources.raw_file import RawFile
from corpora.sources.source import Source
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document


def read_pairs(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield bilingual documents; the source's own domain wins over that of its ``parallel`` settings.

    Raises:
        InputError: If the file is a member of an archive, or cannot be read to its end.
    """
    if file.path is None:
        raise InputError(f"{file.label} is parallel text within an archive; unpack it first.")
    for document in parallel_documents(file.path, quarantine, source.parallel):
        yield replace(document, domain=source.domain or document.domain, license=document.license or source.license)
