"""Texts that must stay out of a corpus: whole documents, compared by their letters and digits."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from corpora.facts import Facts
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.text import content_digest, normalise

_KEY_BYTES = 16  # half of a SHA-256 tells 2**64 texts apart
_NOT_LETTERS = re.compile(r"[\W_]+")


class Exclusions:
    """Texts to be kept out, compared by their letters and digits: a changed comma does not hide a leak.

    As a rule it drops a document that is one of them, with the reason ``excluded``.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._keys = {_loose_key(text) for text in texts}

    def __contains__(self, text: str) -> bool:
        return bool(self._keys) and _loose_key(text) in self._keys

    def __call__(self, facts: Facts, /) -> str | None:
        return "excluded" if facts.text in self else None


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
