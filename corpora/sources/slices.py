"""Temporary."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpora.sources.source import Source
from hanlm.artifact import open_artifact, read_manifest
from hanlm.quarantine import Quarantine
from hanlm.records import Document, list_files, read_documents


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A piece of the input."""

    source: int
    path: Path
    name: str
    start: int = 0
    stop: int | None = None
    first_line: int = 1
    num_bytes: int


def list_slices(sources: Sequence[Source], slice_bytes: int) -> list[Slice]:
    """List."""
    found: list[Slice] = []
    for number, source in enumerate(sources):
        manifest = read_manifest(source.path) if source.path.is_dir() else None
        if manifest is not None:
            open_artifact(source.path, manifest["kind"])
        for file in list_files([source.path]):
            name = file.relative_to(source.path).as_posix() if file != source.path else file.name
            found.append(Slice(source=number, path=file, name=name, num_bytes=file.stat().st_size))
    return found


def read_slice(slice: Slice, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Read."""
    for d in read_documents(
        [slice.path],
        quarantine,
        txt_unit=source.txt_unit or "file",
        domain=source.domain,
        lang=source.lang,
        split="all",
    ):
        yield d
