"""A file as its reader gets it: on disk, a part of one, or a member of an archive."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from corpora.sources.source import Source
from hanlm.encodings import TextStream, codec_name
from hanlm.records import Document
from hanlm.streams import MAX_LINE_BYTES

MAX_WHOLE_BYTES: Final = MAX_LINE_BYTES
"""Largest page, chapter or other text that is read as a whole; what is larger is quarantined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawFile:
    """One file to read documents out of."""

    label: str
    """What the quarantine and errors call it."""
    name: str
    """Path within its source, which ids and sources are made of."""
    open: Callable[[], AbstractContextManager[BinaryIO]]
    """Opens its bytes, decompressed; of a member of an archive, only once."""
    path: Path | None = None
    """Where it lies as it is, if it does: neither packed nor compressed."""
    start: int = 0
    """First row group, where only a part is read."""
    stop: int | None = None
    """Row group at which the part ends."""
    first_line: int = 1
    """Number of the first line or row of the part."""
    encoding: str = ""
    """Codec of its text, where it is already known."""

    @property
    def stem(self) -> str:
        """Its name without endings: the beginning of its records' ids."""
        folder, slash, name = self.name.rpartition("/")
        return folder + slash + name.partition(".")[0]

    @contextmanager
    def open_text(self, source: Source) -> Generator[TextStream]:
        """Open it as UTF-8, converted from the source's encoding or from the one that is detected."""
        codec = self.encoding or (codec_name(source.encoding) if source.encoding else None)
        with self.open() as stream:
            yield TextStream(stream, codec)

    def read_whole(self, limit: int = MAX_WHOLE_BYTES) -> tuple[bytes, bool]:
        """Return its bytes, and whether they are all; of a larger file the first ``limit``."""
        with self.open() as stream:
            parts: list[bytes] = []
            left = limit + 1
            while left and (part := stream.read(min(left, 2**20))):
                parts.append(part)
                left -= len(part)
        raw = b"".join(parts)
        return raw[:limit], len(raw) <= limit


def document(
    source: Source,
    file: RawFile,
    *,
    id: str,
    text: str,
    origin: str = "",
    lang: str = "",
    group: str = "",
) -> Document:
    """Return a document with its source's labels; ``origin`` is where it is from, by default its file."""
    return Document(
        id=encodable(id),
        text=encodable(text),
        domain=source.domain or "default",
        lang=lang or source.lang or "",
        source=encodable(origin) or file.name,
        license=source.license,
        group=group,
    )


def encodable(text: str) -> str:
    """Return the text without lone surrogates, which no file can hold: `&#xD800;` in markup names one."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "ignore").decode("utf-8")
    return text


def named(path: str) -> str:
    """Return a file's name for people and ids; the bytes of one that is not UTF-8 are spelled out."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
