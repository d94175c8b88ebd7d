"""Exact deduplication, and texts that must stay out of a corpus."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.text import content_digest, normalise

# Half of a SHA-256 tells 2**64 documents apart and keeps the index at about 100 bytes a document.
_KEY_BYTES = 16
_NOT_LETTERS = re.compile(r"[\W_]+")


class ExactIndex:
    """The contents seen so far."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()

    def is_repeat(self, digest: bytes) -> bool:
        """Remember a ``content_digest``; say whether it was known already."""
        key = digest[:_KEY_BYTES]
        if key in self._keys:
            return True
        self._keys.add(key)
        return False


class Exclusions:
    """Texts to be kept out, compared by their letters and digits: a changed comma does not hide a leak."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._keys = {_loose_key(text) for text in texts}

    def __contains__(self, text: str) -> bool:
        return bool(self._keys) and _loose_key(text) in self._keys


def read_exclusions(paths: Sequence[Path], max_quarantined: float) -> Exclusions:
    """Return the texts of files, folders and artifacts (all splits); in a text file each line is one.

    Raises:
        InputError: If a path is missing or damaged, or too many records cannot be read.
    """
    quarantine = Quarantine()
    documents = read_documents(paths, quarantine, txt_unit="line", split="all")
    exclusions = Exclusions(document.text for document in documents)
    quarantine.check(max_quarantined)
    return exclusions


def letters_only(text: str) -> str:
    """Return the letters and digits of a normalised text, in lower case."""
    return _NOT_LETTERS.sub("", text).casefold()


def _loose_key(text: str) -> bytes:
    text = normalise(text)
    return content_digest(letters_only(text) or text)[:_KEY_BYTES]
