"""Archives, read member by member where they lie: nothing is ever unpacked onto the disk."""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, cast
from zipfile import BadZipFile, ZipFile, ZipInfo

from corpora.sources.formats import format_of
from corpora.sources.raw_file import RawFile, named
from corpora.sources.source import Source
from corpora.sources.unpacking import MAX_MEMBER_BYTES, RatioGuard, is_unsafe, refuse_bomb
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document, is_visible
from hanlm.streams import decompressed

type Opener = Callable[[], AbstractContextManager[IO[bytes]]]

_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
_LINK = 0o120000
_KIND = 0o170000


def read_zip(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of a zip file's members, in the order of its list.

    Raises:
        InputError: If it is damaged, or a decompression bomb.
    """
    try:
        with file.open() as stream, ZipFile(stream) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            refuse_bomb(members, file.label)
            for number, info in enumerate(members, 1):
                name = _zip_name(info)
                kind = info.external_attr >> 16 & _KIND
                reason = "unsafe_path" if is_unsafe(name) or is_unsafe(info.filename) or kind == _LINK else ""
                if not reason and info.flag_bits & _ENCRYPTED:
                    reason = "encrypted"
                if _is_refused(reason, name, number, file, quarantine):
                    continue
                yield from _member_documents(name, partial(archive.open, info), file, source, quarantine)
    except (BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        raise InputError(f"{file.label} is damaged or no zip file ({error}); nothing of it is used.") from error


def read_tar(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of a tar file's members, in their order, in one pass over the file.

    Raises:
        InputError: If it is truncated or damaged, or a decompression bomb.
    """
    try:
        with _guarded(file) as stream, tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|") as archive:
            for number, info in enumerate(archive, 1):
                if info.isdir():
                    continue
                is_plain = info.isreg() and not info.issparse()
                reason = "" if is_plain and not is_unsafe(info.name) else "unsafe_path"
                if _is_refused(reason, info.name, number, file, quarantine):
                    continue
                if info.size > MAX_MEMBER_BYTES:
                    raise InputError(
                        f"{file.label}!{info.name} is over {MAX_MEMBER_BYTES // 2**30} GiB; unpack it first."
                    )
                member = cast(IO[bytes], archive.extractfile(info))
                yield from _member_documents(info.name, partial(nullcontext, member), file, source, quarantine)
            _require_end(stream, file)
    except tarfile.TarError as error:
        raise InputError(f"{file.label} is truncated or no tar file ({error}); nothing of it is used.") from error


def _is_refused(reason: str, name: str, number: int, file: RawFile, quarantine: Quarantine) -> bool:
    if reason:
        quarantine.num_seen += 1
        quarantine.add(reason, f"{file.label}!{named(name)}", number, name.encode("utf-8", "backslashreplace"))
    return bool(reason)


def _member_documents(
    name: str, opener: Opener, file: RawFile, source: Source, quarantine: Quarantine
) -> Iterator[Document]:
    """Yield a member's documents; what is no text is passed over, and an archive in an archive is not opened."""
    name = named(name)
    kind = format_of(name, None if source.format in ("zip", "tar") else source.format)
    if kind is None or not is_visible(Path(name)):
        return
    label = f"{file.label}!{name}"
    if not kind.in_archives:
        quarantine.num_seen += 1
        quarantine.add("nested_archive", label, 1, name.encode("utf-8", "backslashreplace"))
        return
    member = RawFile(label=label, name=f"{file.name}/{name}", open=partial(_open_member, opener, name, label))
    yield from kind.reader()(member, source, quarantine)


@contextmanager
def _open_member(opener: Opener, name: str, label: str) -> Generator[BinaryIO]:
    with opener() as opened, decompressed(stream := cast(BinaryIO, opened), name, label) as unpacked:
        yield unpacked if unpacked is stream else cast(BinaryIO, RatioGuard(unpacked, stream.tell, label))


@contextmanager
def _guarded(file: RawFile) -> Generator[RatioGuard]:
    assert file.path is not None  # an archive in an archive is not opened
    with file.path.open("rb") as packed, decompressed(packed, file.path.name, file.label) as stream:
        yield RatioGuard(stream, packed.tell, file.label)


def _require_end(stream: RatioGuard, file: RawFile) -> None:
    """Refuse a tar file that stops between two members, which tarfile takes for its end."""
    while stream.read(2**20):
        pass
    if stream.tail.strip(b"\0"):
        raise InputError(f"{file.label} is truncated: a tar file ends with zeros; copy it again.")


def _zip_name(info: ZipInfo) -> str:
    """Return a member's name; those of Chinese Windows are in GBK without a word about it."""
    if info.flag_bits & _UTF8_NAME:
        return info.filename
    raw = info.filename.encode("cp437", "replace")
    for codec in ("utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            return raw.decode(codec)
    return info.filename
