"""What deduplication does, as the key ``dedup`` of a configuration file."""

from dataclasses import dataclass
from typing import Literal

from hanlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class DedupConfig:
    """Which copies go: of documents, of lines, of passages. Of every copy the first in input order stays."""

    exact: bool = True
    """Drop documents that repeat another's normalised text."""
    near: bool = True
    """Drop documents that MinHash-LSH finds nearly equal to another."""
    lines: bool = False
    """Cut out lines that stand in many documents, such as menus and copyright notes."""
    substrings: bool = False
    """Cut out passages that an earlier document holds too, such as quoted articles and licences."""
    shingles: Literal["chars", "words"] = "chars"
    """What MinHash compares: runs of letters and digits, or of words."""
    ngram: int = 5
    """Letters, or words, in one shingle."""
    bands: int = 14
    """Bands of the signature; two documents are a pair when one band is equal."""
    rows: int = 8
    """Hashes in a band. At Jaccard similarity s a pair is found with probability 1 - (1 - s**rows)**bands."""
    seed: int = 1
    """Chooses the hash functions; runs that share an index must share it."""
    min_line_letters: int = 10
    """Shorter lines, in letters and digits, are never cut."""
    max_line_documents: int = 5
    """A line that stands in more documents is cut from all but the first."""
    window: int = 50
    """Characters in one fingerprint of a passage."""
    winnow: int = 50
    """Of so many windows in a row one is fingerprinted; at most ``window``."""
    min_substring: int = 100
    """Shorter repeated passages, in characters, stay."""
    whole_sentences: bool = True
    """Cut whole sentences alone; else a passage is cut wherever the repetition begins and ends."""

    def __post_init__(self) -> None:
        for name in ("ngram", "bands", "rows", "min_line_letters", "max_line_documents", "winnow"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"expected dedup.{name} of at least 1, got {value}.")
        if self.shingles not in ("chars", "words"):
            raise ConfigError(f"expected dedup.shingles to be chars or words, got {self.shingles!r}.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"expected dedup.seed from 0 to 2**32 - 1, got {self.seed}.")
        # Above 64 the rolling hash would turn full circle; more windows to a fingerprint than characters in one
        # would leave unproven text between the fingerprints of one passage.
        if not self.winnow <= self.window <= 64:
            raise ConfigError(
                f"expected dedup.winnow <= dedup.window <= 64, got {self.winnow} and {self.window}; lower winnow."
            )
        if self.min_substring < self.window:
            raise ConfigError(
                f"expected dedup.min_substring of at least dedup.window ({self.window}), got {self.min_substring}."
            )
