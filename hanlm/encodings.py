"""What a text file is encoded in, judged by what its bytes spell; and such a file read as UTF-8.

A byte order mark decides. Then whatever is strictly UTF-8 is UTF-8. Of the rest, each encoding is judged by how likely
the text is that it makes of the bytes, with the frequencies of single characters in Chinese of both scripts: GB18030
accepts nearly every byte string that Big5 does, but makes rare characters of it.
"""

import codecs
import io
import math
import unicodedata
from collections import Counter
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final, cast, override

import numpy as np
import numpy.typing as npt

from hanlm.errors import ConfigError
from hanlm.text import CJK_PUNCTUATION, HAN_RANGES, WEAK_PUNCTUATION

UTF8: Final = "utf-8"
CHINESE_ENCODINGS: Final = {
    "gb18030": "GB18030 (GBK)",
    "big5hkscs": "Big5",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32-le": "UTF-32",
    "utf-32-be": "UTF-32",
}
"""Codecs that text is converted from, and how they are called."""

SAMPLE_BYTES: Final = 2**16
"""Bytes that are judged, from the first one on that is not ASCII."""

_MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
_WIDE = ("utf-16-le", "utf-16-be")
# Encodings of other languages stand here so that their text is not taken for rare Chinese.
_NARROW = ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949", "cp1252")
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030", "big5": "big5hkscs", "cp950": "big5hkscs"}

_LOG_BAD_BYTE = math.log(1e-9)
# How much likelier, in nats, an encoding other than UTF-8 has to be: three bytes of one broken UTF-8 character in a
# page of English may well spell one common character in another encoding.
_UTF8_PRIOR = 30.0
# Mean log probability of the characters beyond ASCII below which a text is not taken for Chinese at all. Measured:
# Chinese of both scripts lies above -8.5 on average, Cyrillic or Greek read as GB18030 below -12.
_MIN_MEAN_LOG = -11.5


def codec_name(encoding: str) -> str:
    """Return the codec to read an encoding with: of GB2312, GBK and Big5 the one that knows all their extensions.

    Raises:
        ConfigError: If Python has no such text encoding.
    """
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except LookupError:
        raise ConfigError(
            f"expected `encoding` to name a text encoding such as gb18030, big5 or utf-16, got {encoding!r}."
        ) from None
    return _WIDER.get(name, name)


def detect(sample: bytes, *, is_start: bool = True, is_whole: bool = False) -> str:
    """Return the codec that a text's first bytes are likely in.

    Args:
        sample: Its beginning; a few hundred bytes beyond ASCII settle it.
        is_start: Whether this is the beginning of the file; elsewhere there are no marks, and no UTF-16.
        is_whole: Whether the text ends here, so that a cut character at its end is a fault.

    Returns:
        ``utf-8``, one of ``CHINESE_ENCODINGS``, or the best guess among encodings of other languages.
    """
    if is_start and (marked := next((name for mark, name in _MARKS if sample.startswith(mark)), None)):
        return marked
    wide = is_start and b"\0" in sample
    if not wide and _is_strictly(sample, UTF8, is_whole=is_whole):
        return UTF8
    names = (UTF8, *_NARROW, *_WIDE) if is_start else (UTF8, *_NARROW)
    scores = {name: _score(sample, name, is_whole=is_whole) for name in names}
    scores[UTF8] = (scores[UTF8][0] + _UTF8_PRIOR, scores[UTF8][1])
    best = max(scores, key=lambda name: scores[name][0])
    if best in CHINESE_ENCODINGS and scores[best][1] < _MIN_MEAN_LOG:
        return UTF8
    return best


def detect_file(path: Path) -> str:
    """Return the codec that a file's first bytes are likely in; of a compressed file those of its content."""
    from hanlm.streams import open_stream

    with open_stream(path) as stream:
        return detect_stream(stream)


def detect_stream(stream: BinaryIO) -> str:
    """Return the codec of a text; it is read up to its first bytes beyond ASCII, and a little further."""
    reader = _Utf8Stream(stream, None)
    while reader.encoding is None and reader.read(SAMPLE_BYTES):
        pass
    return reader.encoding or UTF8


class TextStream(io.BufferedReader):
    """A text's bytes as UTF-8, whatever it is encoded in; detected at its first bytes beyond ASCII.

    Each byte string that is no character is given as the byte FF, which is not UTF-8 either: who reads lines finds
    exactly the lines that are damaged. UTF-8 itself, and text of other encodings than ``CHINESE_ENCODINGS``, passes
    through unchanged.

    Args:
        stream: The text, at its beginning.
        encoding: The codec, where it is known; None detects it.
    """

    def __init__(self, stream: BinaryIO, encoding: str | None = None) -> None:
        self._utf8 = _Utf8Stream(stream, encoding)
        super().__init__(self._utf8, SAMPLE_BYTES)  # pyright: ignore[reportArgumentType]

    @property
    def encoding(self) -> str:
        """The codec, ``utf-8`` so long as nothing but ASCII was read."""
        return self._utf8.encoding or UTF8

    def invalid(self) -> str:
        """Return why a line with a bad byte is quarantined, such as ``invalid_utf8`` or ``invalid_gb18030``."""
        name = self.encoding
        return "invalid_" + ("".join(name.split("-")[:2]) if name.startswith("utf-") else name.removesuffix("hkscs"))


class _Utf8Stream(io.RawIOBase):
    def __init__(self, stream: BinaryIO, encoding: str | None) -> None:
        self._stream = stream
        self.encoding = encoding
        self._decoder = None if encoding is None else _decoder(encoding)
        self._ready = memoryview(b"")
        self._is_start, self._is_end = True, False

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int:
        while not self._ready and not self._is_end:
            self._ready = memoryview(self._next())
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _next(self) -> bytes:
        raw = self._stream.read(SAMPLE_BYTES)
        self._is_end = not raw
        if self.encoding is None:
            if raw.isascii() and not (self._is_start and b"\0" in raw):
                self._is_start = self._is_start and not raw
                return raw
            raw = self._settle(raw)
        if self._decoder is None:
            return raw
        text = self._decoder.decode(raw, final=self._is_end)
        return text.encode("utf-8", "surrogateescape")

    def _settle(self, raw: bytes) -> bytes:
        """Choose the codec by what comes from the first byte on that is not ASCII; give back all that was read."""
        raw += self._stream.read(SAMPLE_BYTES)
        ascii_bytes = 0 if self._is_start else len(raw) - len(raw.lstrip(_ASCII))
        sample = raw[ascii_bytes:][: 2 * SAMPLE_BYTES]
        found = detect(sample, is_start=self._is_start, is_whole=len(raw) < SAMPLE_BYTES)
        self.encoding = found if found in CHINESE_ENCODINGS else UTF8
        self._decoder = _decoder(self.encoding)
        return raw


_ASCII = bytes(range(128))


def _decoder(codec: str) -> codecs.IncrementalDecoder | None:
    return None if codec == UTF8 else codecs.getincrementaldecoder(codec)(_marking_errors())


@cache
def _marking_errors() -> str:
    """Return the name of an error handler that puts the byte FF for what cannot be decoded."""

    def mark(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeDecodeError):
            raise error
        return "\udcff", error.end

    codecs.register_error("hanlm.mark", mark)
    return "hanlm.mark"


def _is_strictly(sample: bytes, codec: str, *, is_whole: bool) -> bool:
    with suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder(codec)().decode(sample, final=is_whole)
        return True
    return False


def _score(sample: bytes, codec: str, *, is_whole: bool) -> tuple[float, float]:
    """Return the log probability of the text that a codec makes of a sample, and its mean beyond ASCII."""
    text = codecs.getincrementaldecoder(codec)("replace").decode(sample, final=is_whole)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    logs = _log_probabilities()[points]
    beyond = logs[points >= 128]
    return float(logs.sum(dtype=np.float64)), float(beyond.mean()) if len(beyond) else 0.0


@cache
def _log_probabilities() -> npt.NDArray[np.float32]:
    """One rough log probability per code point: a text that looks like Chinese is likelier than one that does not."""
    table = np.full(0x110000, 1e-10)
    for first, last in ((0xA0, 0x24F), (0x370, 0x52F), (0x2000, 0x2BFF), (0x3000, 0x33FF), (0xFF00, 0xFFEF)):
        table[first : last + 1] = 1e-6
    table[0x3041:0x30FF] = 5e-4
    table[0xAC00:0xD7A4] = 5e-5
    for first, last in HAN_RANGES:
        table[first : last + 1] = 1e-8
    table[0x4E00:0xA000] = 1e-7
    for char in CJK_PUNCTUATION | WEAK_PUNCTUATION:
        table[ord(char)] = 1e-4
    for char in "，。、“”：；！？（）《》　":
        table[ord(char)] = 1e-2
    table[0x20:0x7F] = 0.3 / 95
    table[[0x09, 0x0A, 0x0D]] = 0.3 / 95
    for char, share in _char_shares().items():
        table[ord(char)] += 0.6 * share
    private = [point for point in range(0xE000, 0xF900) if unicodedata.category(chr(point)) == "Co"]
    table[private] = table[0xFFFD] = table[0xFEFF] = 1e-9
    return np.log(table).astype(np.float32)


@cache
def _char_shares() -> dict[str, float]:
    """Each character's share in jieba's dictionary, half of it turned into traditional characters."""
    import opencc

    spec = find_spec("jieba")
    assert spec is not None
    assert spec.origin is not None
    simplified: Counter[str] = Counter()
    for line in Path(spec.origin).with_name("dict.txt").read_text(encoding="utf-8").splitlines():
        word, count, _ = line.split(" ")
        for char in word:
            simplified[char] += int(count)
    chars = "\n".join(simplified)
    traditional: Counter[str] = Counter()
    for char, other in zip(simplified, cast(str, opencc.OpenCC("s2t").convert(chars)).split("\n"), strict=True):
        traditional[other] += simplified[char]
    total = simplified.total()
    return {char: (simplified[char] + traditional[char]) / 2 / total for char in simplified | traditional}
