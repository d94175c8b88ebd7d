"""Byte streams and lines in bounded memory: plain, gzip and Zstandard files; a truncated one is an error."""

import gzip
import io
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, override

import zstandard

from hanlm.errors import InputError

MAX_LINE_BYTES: Final = 64 * 2**20
"""A longer line is not a record but an accident; it is skipped without being held in memory."""

_BUFFER_BYTES = 2**20
# A Zstandard block of 4 bytes can spell 128 KiB: 4 KiB of input bound a bomb's output to 128 MiB at once.
_ZSTD_CHUNK_BYTES = 2**12


class _ZstdFile(io.RawIOBase):
    """Decompress Zstandard frames; ``EOFError`` on a truncated one, where zstandard's reader is mute."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = zstandard.ZstdDecompressor()
        self._frame: zstandard.ZstdDecompressionObj | None = None
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
        chunk = self._rest or self._file.read(_ZSTD_CHUNK_BYTES)
        if not chunk:
            if self._frame is not None:
                raise EOFError("the last frame is not finished")
            return False
        frame = self._frame or self._decoder.decompressobj()
        self._ready = memoryview(frame.decompress(chunk))
        self._rest, self._frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        return True


@contextmanager
def open_stream(path: Path) -> Generator[BinaryIO]:
    """Open a file for reading bytes, decompressed by its suffix (``.gz``, ``.zst``).

    Raises:
        InputError: If it cannot be read, or while reading: it is truncated or not what its suffix says.
    """
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as file:
            if path.suffix.lower() == ".gz":
                with gzip.GzipFile(fileobj=file) as unzipped:
                    yield io.BufferedReader(unzipped, _BUFFER_BYTES)  # pyright: ignore[reportArgumentType]
            elif path.suffix.lower() == ".zst":
                yield io.BufferedReader(_ZstdFile(file), _BUFFER_BYTES)
            else:
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise InputError(
            f"{path} is truncated or damaged ({error}); nothing of it is used: copy or compress it again."
        ) from error
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path.") from error


def iter_lines(stream: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (line number from 1, the line without its end, whether it is complete).

    Of a line over ``max_bytes`` only the beginning is yielded, marked incomplete; the rest is skipped in
    pieces. A UTF-8 byte order mark before the first line is dropped.
    """
    number = 0
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
