"""The languages in Latin letters told apart by lingua, an optional package."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from corpora.facts import Facts, Reason, figure
from corpora.filters.samples import spread_samples
from hanlm.errors import ConfigError, InputError
from hanlm.text import base_language

_PACKAGE: Final = "lingua"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lingua:
    """Drops a document in a language other than its source declares: reason ``lingua_language``.

    It asks of documents declared to be in one of ``languages``; of others it knows nothing. Samples from all over the
    document each have their vote by their length, so a foreign quotation at its head decides nothing.
    """

    languages: tuple[str, ...] = ("en", "fr", "de", "es")
    """ISO 639-1 codes among which lingua chooses; each more costs memory and time."""
    num_chars: int = 1_600
    """Characters that are looked at in a document, in 8 samples."""
    min_share: float = 0.5
    """Share of the looked-at characters that must be in the declared language."""

    def __post_init__(self) -> None:
        if len(set(self.languages)) < 2:
            raise ConfigError(f"expected at least 2 languages for lingua to choose from, got {self.languages}.")
        if not 0 < self.min_share <= 1 or self.num_chars < 80:
            raise ConfigError(
                f"need 0 < min_share <= 1 and num_chars >= 80, got {self.min_share} and {self.num_chars}."
            )

    def __call__(self, facts: Facts, /) -> str | None:
        declared = base_language(facts.lang)
        if declared not in self.languages:
            return None
        votes = dict.fromkeys(self.languages, 0)
        for sample in spread_samples(facts.text, self.num_chars):
            if (language := detect_language(sample, self.languages)) is not None:
                votes[language] += len(sample)
        total = sum(votes.values())
        if not total or votes[declared] >= self.min_share * total:
            return None
        most = max(votes, key=lambda language: votes[language])
        share = f"{figure(votes[declared] / total)} of what was looked at reads as {declared}"
        return Reason("lingua_language", f"{share}, limit {figure(self.min_share)}; most reads as {most}")


def detect_language(text: str, languages: tuple[str, ...]) -> str | None:
    """Return the ISO 639-1 code of the likeliest of the languages, or None where lingua cannot tell.

    Raises:
        InputError: If the package is missing.
        ConfigError: If lingua does not know a language.
    """
    found = _detector(languages).detect_language_of(text)
    return found.iso_code_639_1.name.lower() if found is not None else None


@cache
def _detector(languages: tuple[str, ...]) -> Any:
    if find_spec(_PACKAGE) is None:
        raise InputError(
            "the step lingua needs the package lingua-language-detector; run: pip install 'hanlm[lingua]'."
        )
    import lingua

    codes: Any = lingua.IsoCode639_1

    if unknown := [code for code in languages if not hasattr(codes, code.upper())]:
        raise ConfigError(f"expected ISO 639-1 codes that lingua knows, got {unknown[0]!r}; write en, fr, de or such.")
    chosen = [getattr(codes, code.upper()) for code in languages]
    return lingua.LanguageDetectorBuilder.from_iso_codes_639_1(*chosen).build()
