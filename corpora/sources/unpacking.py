"""Archives that are traps: decompression bombs, and members whose names lead out of the folder."""

import io
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, override
from zipfile import ZipInfo

from hanlm.errors import InputError

MAX_MEMBER_BYTES: Final = 2**36
"""Largest member of an archive, unpacked: 64 GiB."""

MAX_RATIO: Final = 200
"""How many times its own size an archive may unpack to; Chinese text packs to a quarter, and logs to a fiftieth."""

FREE_BYTES: Final = 2**26
"""Up to here anything may be unpacked, whatever it was packed to."""


_TAIL_BYTES = 512


def is_unsafe(name: str) -> bool:
    """Say whether a member's name leads, or may lead on some system, out of the folder it would be unpacked into."""
    path = name.replace("\\", "/")
    return (
        not path
        or "\0" in path
        or path.startswith("/")
        or (len(path) > 1 and path[1] == ":")
        or ".." in PurePosixPath(path).parts
    )


def refuse_bomb(members: Sequence[ZipInfo], where: str) -> None:
    """Refuse a zip file by the sizes that its list states; no more than that is ever unpacked of a member.

    Raises:
        InputError: If a member, or all of them together, unpack to far more than they take.
    """
    for member in members:
        _require_sane(member.file_size, member.compress_size, f"{where}!{member.filename}")
    _require_sane(sum(m.file_size for m in members), sum(m.compress_size for m in members), where)


class RatioGuard(io.RawIOBase):
    """Bytes of a packed stream, counted against what was read of the packed file.

    Args:
        stream: The unpacked bytes.
        num_packed: Says how many packed bytes were read so far.
        where: What errors call the archive.
    """

    def __init__(self, stream: BinaryIO, num_packed: Callable[[], int], where: str) -> None:
        self._stream, self._num_packed, self._where = stream, num_packed, where
        self._num_bytes = 0
        self.tail = b""
        """The last bytes that were read."""

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int:
        raw = self._stream.read(len(buffer))
        buffer[: len(raw)] = raw
        self._num_bytes += len(raw)
        self.tail = (self.tail + raw[-_TAIL_BYTES:])[-_TAIL_BYTES:] if raw else self.tail
        _require_sane(self._num_bytes, self._num_packed(), self._where, is_member=False)
        return len(raw)


def _require_sane(num_bytes: int, num_packed: int, where: str, *, is_member: bool = True) -> None:
    if num_bytes > FREE_BYTES and num_bytes > MAX_RATIO * num_packed:
        raise InputError(
            f"{where} unpacks to over {MAX_RATIO} times its size, {num_bytes / 1e6:,.0f} MB out of "
            f"{num_packed / 1e6:,.3f}: a decompression bomb; unpack it yourself if you trust it, and pass the folder."
        )
    if is_member and num_bytes > MAX_MEMBER_BYTES:
        raise InputError(
            f"{where} unpacks to {num_bytes / 2**30:,.0f} GiB, over the {MAX_MEMBER_BYTES // 2**30} GiB that are read "
            "out of an archive; unpack it yourself if you trust it, and pass the folder."
        )
