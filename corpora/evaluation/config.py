"""When a document counts as holding an evaluation text."""

from dataclasses import dataclass
from typing import Final

from hanlm.errors import ConfigError

ANCHOR: Final = 8
"""Letters by which known n-grams of any larger n are looked for at first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decontamination:
    """When a document holds an evaluation text.

    GPT-3 looked for 13-grams of words, PaLM asked for 70% of a text's 8-grams of words, GPT-4 for a run of 50
    letters. 13 Han are about 8 words, and 50 Latin letters about 10.
    """

    fields: tuple[str, ...] = ()
    """Fields of the evaluation files to read; empty is all that hold text."""
    han_letters: int = 13
    """n of the n-grams of letters in Chinese evaluation texts."""
    latin_letters: int = 50
    """n in those of other languages."""
    whole_letters: int = 8
    """A text shorter than n is compared whole if it has so many letters; shorter ones are not looked for."""
    min_overlap: float = 0.7
    """The share of an evaluation text's letters from which a document holds it."""
    min_letters: int = 20
    """The fewest letters that a document shares with the text; one with fewer must be there whole. So the name of a
    law is no evidence of the question that names it."""
    max_ngrams: int = 100
    """So many distinct n-grams of one text are too many, whatever their share of it."""

    def __post_init__(self) -> None:
        if not ANCHOR <= self.whole_letters <= min(self.han_letters, self.latin_letters):
            raise ConfigError(
                f"need {ANCHOR} <= whole_letters <= han_letters and latin_letters, "
                f"got {self.whole_letters}, {self.han_letters} and {self.latin_letters}."
            )
        if not 0 < self.min_overlap <= 1 or self.max_ngrams < 1 or self.min_letters < 1:
            raise ConfigError(
                f"need 0 < min_overlap <= 1, min_letters >= 1 and max_ngrams >= 1, "
                f"got {self.min_overlap}, {self.min_letters} and {self.max_ngrams}."
            )
