"""What rules ask of a document, computed once however many of them ask."""

from collections.abc import Iterable
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Protocol, Self

from corpora.sources.parallel import is_bilingual
from hanlm.text import CHAR_CLASSES, base_language, class_counts

if TYPE_CHECKING:
    from corpora.filters.word_spans import WordSpans

CHINESE = frozenset({"zh", "zho", "chi", "chinese", "cn", "cmn", "yue", "lzh", "wuu"})
"""Base languages that are written in Han characters throughout, and the names that data sets give them."""

_MAX_TERMS = 5
_QUOTED_CHARS = 40


class Facts:
    """One document as the rules see it.

    Args:
        text: The text as the cleaners left it.
        lang: The language its source declares, such as ``zh`` or ``en``; empty where it is unknown.
        domain: Its domain.
    """

    def __init__(self, text: str, lang: str = "zh", domain: str = "default") -> None:
        self.text, self.lang, self.domain = text, lang, domain

    @property
    def is_chinese(self) -> bool:
        """Whether the document is declared to be Chinese, and not Chinese beside a translation."""
        return base_language(self.lang) in CHINESE and not is_bilingual(self.lang)

    @cached_property
    def words(self) -> list[str]:
        """The text cut by jieba's dictionary, without its hidden Markov model; blanks and punctuation are words too."""
        import rjieba

        return rjieba.cut(self.text, False)

    @cached_property
    def spans(self) -> "WordSpans":
        """The words that are not white space, as arrays."""
        from corpora.filters.word_spans import word_spans

        return word_spans(self.words)

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank, without white space around them."""
        return [line for raw in self.text.split("\n") if (line := raw.strip())]

    @cached_property
    def char_counts(self) -> dict[str, int]:
        """Characters by class; the keys are ``hanlm.text.CHAR_CLASSES``."""
        return class_counts(self.text)

    @property
    def num_visible(self) -> int:
        """Characters other than white space."""
        return sum(self.char_counts[name] for name in CHAR_CLASSES if name != "space")

    @property
    def han_ratio(self) -> float:
        """The share of Han among the visible characters; 0.0 if there are none."""
        return self.char_counts["han"] / self.num_visible if self.num_visible else 0.0


class Reason(str):
    """Why a document is dropped: a string, that goes wherever one does, with what was measured.

    Args:
        name: The reason, one snake_case word.
        evidence: See the attribute.
    """

    evidence: str
    """What was measured and the limit, in a short phrase; empty where the name says it all."""

    def __new__(cls, name: str, evidence: str = "") -> Self:
        reason = super().__new__(cls, name)
        reason.evidence = evidence
        return reason


def figure(value: float) -> str:
    """Return a number as evidence gives it: four digits, or all those of a whole number."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def named(terms: Iterable[str]) -> str:
    """Return the first terms, as many as evidence names, each no longer than it quotes."""
    return ", ".join(map(quoted, islice(terms, _MAX_TERMS)))


def quoted(text: str) -> str:
    """Return a piece of text in one line, shortened to what evidence quotes."""
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARS else f"{line[:_QUOTED_CHARS]}…"


class Rule(Protocol):
    """A filter: says why a document is dropped, in one snake_case word, or None to keep it.

    What knows more than the word gives a ``Reason``.
    """

    def __call__(self, facts: Facts, /) -> str | None: ...
