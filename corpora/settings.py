"""The limits of the rules, as the key ``rules`` of a configuration file; the defaults are what the pages document."""

from dataclasses import dataclass, field

from corpora.filters.language import Language
from corpora.filters.lingua import Lingua
from corpora.filters.quality_limits import QualityConfig
from corpora.filters.spam import Spam


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSettings:
    """Limits of the rules that have more than one; a rule is a callable dataclass of its limits."""

    language: Language = field(default_factory=Language)
    """Which scripts of Chinese stay."""
    spam: Spam = field(default_factory=Spam)
    """When a document is an advertisement."""
    lingua: Lingua = field(default_factory=Lingua)
    """Among which languages lingua chooses."""
    quality: QualityConfig = field(default_factory=QualityConfig)
    """Of gopher-quality, gopher-repetition, fineweb-quality and c4."""
