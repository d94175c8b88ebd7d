"""Lists of words given by the user: a document with too many of them goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from corpora.facts import Facts, Reason, figure, named
from corpora.filters.term_index import TermIndex
from hanlm.errors import ConfigError, InputError
from hanlm.quarantine import Quarantine
from hanlm.records import list_files
from hanlm.text_lines import read_texts


@dataclass(frozen=True, kw_only=True, slots=True)
class WordList:
    """Drops a document with words of the user's lists: reason ``word_list``.

    Terms are found wherever they stand, across word boundaries too (those in Latin letters as whole words); case,
    width and script do not count.
    """

    lists: tuple[Path, ...] = ()
    """Text files with one term a line; lines that start with # are remarks."""
    min_distinct: int = 3
    """A document with so many distinct terms goes."""
    min_per_1000_chars: float | None = None
    """A document with so many occurrences in 1,000 visible characters goes too; None leaves that out."""

    def __post_init__(self) -> None:
        if self.min_distinct < 1 or (self.min_per_1000_chars is not None and self.min_per_1000_chars <= 0):
            raise ConfigError(
                "expected min_distinct >= 1 and min_per_1000_chars > 0, got "
                f"{self.min_distinct} and {self.min_per_1000_chars}."
            )

    def __call__(self, facts: Facts, /) -> str | None:
        found = _index(self.lists).counts(facts.text) if self.lists else {}
        if not found:
            return None
        if len(found) >= self.min_distinct:
            return Reason("word_list", self._measured("different terms", len(found), self.min_distinct, found))
        density = 1000 * sum(found.values()) / max(1, facts.num_visible)
        if self.min_per_1000_chars is None or density < self.min_per_1000_chars:
            return None
        what = "terms for 1,000 characters"
        return Reason("word_list", self._measured(what, density, self.min_per_1000_chars, found))

    def _measured(self, what: str, value: float, limit: float, found: Mapping[int, int]) -> str:
        """Return the evidence, with the terms that occur most."""
        terms = _index(self.lists).terms
        most = sorted(found, key=lambda number: (-found[number], terms[number]))
        return f"{what} {figure(value)}, limit {figure(limit)}: {named(terms[number] for number in most)}"


def read_terms(paths: Sequence[Path]) -> list[str]:
    """Return the terms of text files, one a line, without remarks.

    Raises:
        InputError: If a file is missing, is not UTF-8, or the files hold no term.
    """
    terms: list[str] = []
    for file in list_files(paths, (".txt", ".txt.gz", ".txt.zst")):
        quarantine = Quarantine()
        lines = (line.strip() for _, line in read_texts(file, quarantine, "line"))
        terms += [line for line in lines if line and not line.startswith("#")]
        quarantine.check(0.0)
    if not terms:
        raise InputError(f"expected terms, one a line, in {', '.join(map(str, paths))}, got none; check the files.")
    return terms


@cache
def _index(paths: tuple[Path, ...]) -> TermIndex:
    return TermIndex(read_terms(paths))
