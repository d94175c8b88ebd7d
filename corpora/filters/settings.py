"""The limits of the rules, as the key ``rules`` of a configuration file; the defaults are what the pages document."""

from dataclasses import dataclass, field

from corpora.filters.garbled import Garbled
from corpora.filters.language import Language
from corpora.filters.lingua import Lingua
from corpora.filters.page_shape import Menu, NoSentence, RepeatedLines
from corpora.filters.quality_limits import QualityConfig
from corpora.filters.spam import Spam
from corpora.filters.word_list import WordList


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSettings:
    """Limits of the rules; each is the rule itself, named as its step with ``_`` for ``-``."""

    language: Language = field(default_factory=Language)
    """Which languages and scripts stay."""
    garbled: Garbled = field(default_factory=Garbled)
    """When text is garbled."""
    repeated_lines: RepeatedLines = field(default_factory=RepeatedLines)
    """When text says the same over and over."""
    menu: Menu = field(default_factory=Menu)
    """When a page is a menu."""
    no_sentence: NoSentence = field(default_factory=NoSentence)
    """When a page has no sentence."""
    spam: Spam = field(default_factory=Spam)
    """When a document is an advertisement."""
    word_list: WordList = field(default_factory=WordList)
    """The user's word lists."""
    lingua: Lingua = field(default_factory=Lingua)
    """Among which languages lingua chooses."""
    quality: QualityConfig = field(default_factory=QualityConfig)
    """Of gopher-quality, gopher-repetition, fineweb-quality and c4."""
