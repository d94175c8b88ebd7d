"""What the quality rules have in common: limits by language."""

from typing import ClassVar

from corpora.facts import Facts
from corpora.filters.quality_limits import ChineseLimits, EnglishLimits, QualityConfig
from hanlm.text import MIN_HAN_RATIO, base_language


class QualityRule:
    """A rule with one set of limits for Chinese and one for English; documents of other languages pass it.

    Documents that declare no language are Chinese if enough of their characters are Han, English if not. Program
    text and other languages declare theirs: no limits for them were ever measured on words cut by jieba.
    """

    name: ClassVar[str]
    """What ``--add`` and ``--skip`` call it."""

    def __init__(self, config: QualityConfig | None = None) -> None:
        self.config = config or QualityConfig()

    def __call__(self, facts: Facts, /) -> str | None:
        """Return why the document is dropped, or None."""
        limits = self._limits(facts)
        return None if limits is None else self.judge(facts, limits)

    def judge(self, facts: Facts, limits: ChineseLimits | EnglishLimits) -> str | None:
        """Return why the limits drop the document, or None."""
        raise NotImplementedError

    def _limits(self, facts: Facts) -> ChineseLimits | EnglishLimits | None:
        if facts.is_chinese or (not facts.lang and facts.han_ratio >= MIN_HAN_RATIO):
            return self.config.zh
        return self.config.en if base_language(facts.lang) in {"", "en", "eng"} else None
