"""The plain filters: how long a text is, and how much of it is Han."""

from dataclasses import dataclass

from corpora.facts import Facts
from corpora.sources.parallel import is_bilingual
from hanlm.errors import ConfigError
from hanlm.text import MIN_HAN_RATIO


@dataclass(frozen=True, kw_only=True, slots=True)
class Length:
    """Drops what is ``empty``, ``too_short`` or ``too_long``."""

    min_chars: int = 1
    """Fewest characters."""
    max_chars: int | None = None
    """Most characters; None is no limit."""

    def __post_init__(self) -> None:
        if self.max_chars is not None and self.max_chars < self.min_chars:
            raise ConfigError(f"need min_chars <= max_chars, got {self.min_chars} and {self.max_chars}.")

    def __call__(self, facts: Facts, /) -> str | None:
        text = facts.text
        if not text or text.isspace():
            return "empty"
        if len(text) < self.min_chars:
            return "too_short"
        return "too_long" if self.max_chars is not None and len(text) > self.max_chars else None


@dataclass(frozen=True, kw_only=True, slots=True)
class HanRatio:
    """Drops a Chinese document of ``low_han_ratio``, and one of another language of ``high_han_ratio``."""

    min_han_ratio: float = MIN_HAN_RATIO
    """Least share of Han among the visible characters of a Chinese document."""
    max_han_ratio_other: float = 0.3
    """Largest share of Han in a document of another language."""

    def __post_init__(self) -> None:
        for name in ("min_han_ratio", "max_han_ratio_other"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"expected {name} between 0 and 1, got {getattr(self, name)}.")

    def __call__(self, facts: Facts, /) -> str | None:
        if is_bilingual(facts.lang):
            return None  # of a text and its translation half is Han
        if facts.is_chinese:
            return "low_han_ratio" if facts.han_ratio < self.min_han_ratio else None
        return "high_han_ratio" if facts.han_ratio > self.max_han_ratio_other else None
