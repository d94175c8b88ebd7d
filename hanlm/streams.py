"""Byte streams and lines in bounded memory: plain, gzip, bzip2 and Zstandard files; a truncated one is an error."""

import bz2
import gzip
import io
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, override

import zstandard

from hanlm.errors import InputError

COMPRESSIONS: Final = ("", ".gz", ".bz2", ".zst")
"""Endings that a file of any text format may also have."""

MAX_LINE_BYTES: Final = 64 * 2**20
"""A longer line is not a record but an accident; it is skipped without being held in memory."""

_BUFFER_BYTES = 2**20
# A Zstandard block of 4 bytes can spell 128 KiB and a bzip2 block of 45 bytes 900 kB: 4 KiB of input bound a bomb's
# output to 128 MiB at once.
_CHUNK_BYTES = 2**12


class _Decompressor(Protocol):
    """One compressed stream's state, as bz2 and zstandard have it."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Frames(io.RawIOBase):
    """Decompress concatenated streams; ``EOFError`` on a truncated one, where zstandard's reader is mute.

    Python's bz2 reader takes a damaged second stream for trailing rubbish and ends without a word; here it is an error.
    """

    def __init__(self, file: BinaryIO, begin: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._begin = begin
        self._frame: _Decompressor | None = None
        self._rest = b""
        self._ready = memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int:
        while not self._ready:
            if not self._decompress_more():
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _decompress_more(self) -> bool:
        chunk = self._rest or self._file.read(_CHUNK_BYTES)
        if not chunk:
            if self._frame is not None:
                raise EOFError("the last frame is not finished")
            return False
        frame = self._frame or self._begin()
        self._ready = memoryview(frame.decompress(chunk))
        self._rest, self._frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        return True


class _Bzip2:
    """A bzip2 stream's state whose complaint about bad data is told from a failing disk's."""

    def __init__(self) -> None:
        self._state = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._state.eof

    @property
    def unused_data(self) -> bytes:
        return self._state.unused_data

    def decompress(self, data: bytes, /) -> bytes:
        try:
            return self._state.decompress(data)
        except OSError as error:
            raise EOFError(str(error)) from error


@contextmanager
def open_stream(path: Path) -> Generator[BinaryIO]:
    """Open a file for reading bytes, decompressed by its suffix (``.gz``, ``.bz2``, ``.zst``).

    Raises:
        InputError: If it cannot be read, or while reading: it is truncated or not what its suffix says.
    """
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as file, decompressed(file, path.name, str(path)) as stream:
            yield stream
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path.") from error


@contextmanager
def decompressed(file: BinaryIO, name: str, where: str) -> Generator[BinaryIO]:
    """Give the bytes of an open file decompressed by the suffix of ``name``; ``where`` stands in errors.

    Raises:
        InputError: While reading, if it is truncated or not what its suffix says.
    """
    suffix = name.lower().rpartition(".")[2]
    try:
        if suffix in ("gz", "tgz"):
            with gzip.GzipFile(fileobj=file) as unzipped:
                yield io.BufferedReader(unzipped, _BUFFER_BYTES)  # pyright: ignore[reportArgumentType]
        elif suffix in ("bz2", "tbz2"):
            yield io.BufferedReader(_Frames(file, _Bzip2), _BUFFER_BYTES)
        elif suffix == "zst":
            yield io.BufferedReader(_Frames(file, zstandard.ZstdDecompressor().decompressobj), _BUFFER_BYTES)
        else:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise InputError(
            f"{where} is truncated or damaged ({error}); nothing of it is used: copy or compress it again."
        ) from error


def iter_lines(
    stream: BinaryIO, max_bytes: int = MAX_LINE_BYTES, *, first_line: int = 1
) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (line number, the line without its end, whether it is complete).

    Lines are numbered from ``first_line``, where the stream begins in the midst of a file. Of a line over ``max_bytes``
    only the beginning is yielded, marked incomplete; the rest is skipped in pieces. A UTF-8 byte order mark before
    line 1 is dropped.
    """
    number = first_line - 1
    while line := stream.readline(max_bytes + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        complete = line.endswith(b"\n") or len(line) <= max_bytes
        if not complete:
            line = line[:max_bytes]
            while (rest := stream.readline(_BUFFER_BYTES)) and not rest.endswith(b"\n"):
                pass
        yield number, line.rstrip(b"\r\n"), complete
