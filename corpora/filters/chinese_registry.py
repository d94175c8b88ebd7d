"""The plain and the Chinese filters by name; each is made of its limits alone."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from corpora.facts import Rule
from corpora.filters.garbled import Garbled
from corpora.filters.language import Language
from corpora.filters.lingua import Lingua
from corpora.filters.page_shape import Menu, NoSentence, RepeatedLines
from corpora.filters.plain import HanRatio, Length
from corpora.filters.spam import Spam
from corpora.filters.word_list import WordList

type Factory = type[Rule]
type Row = tuple[Factory, str, tuple[str, ...]]
"""What makes the rule, what it drops, and the presets that have it on."""

_BOTH = ("plain", "web")
_WEB = ("web",)

# In the order in which they are best asked: the cheap ones and those that drop most first.
CHINESE_RULES: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "length": (Length, "documents that are empty, too short or too long", _BOTH),
        "han-ratio": (HanRatio, "Chinese with little Han, and other languages with much", _BOTH),
        "language": (Language, "documents declared Chinese that are Japanese, Korean or in another script", _WEB),
        "garbled": (Garbled, "text that was decoded wrongly, and letter salad", _WEB),
        "repeated-lines": (RepeatedLines, "text that says the same over and over", _WEB),
        "menu": (Menu, "pages that are menus and lists of links", _WEB),
        "no-sentence": (NoSentence, "pages in which nothing ends like a sentence", _WEB),
        "spam": (Spam, "advertisements, gambling, false invoices and other spam", _WEB),
        "word-list": (WordList, "documents with words of the user's lists", _WEB),
        "lingua": (Lingua, "documents in Latin letters that are not in their declared language", ()),
    }
)
"""Name -> (factory, description, presets)."""
