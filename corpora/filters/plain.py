"""The plain filters: how long a text is, and how much of it is Han."""

from dataclasses import dataclass

from corpora.facts import Facts, Reason, figure
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
            return Reason("too_short", _num_chars(text, self.min_chars))
        if self.max_chars is not None and len(text) > self.max_chars:
            return Reason("too_long", _num_chars(text, self.max_chars))
        return None


def _num_chars(text: str, limit: int) -> str:
    return f"length in characters {figure(len(text))}, limit {figure(limit)}"


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
            if facts.han_ratio < self.min_han_ratio:
                return Reason("low_han_ratio", _han(facts, self.min_han_ratio))
        elif facts.han_ratio > self.max_han_ratio_other:
            return Reason("high_han_ratio", _han(facts, self.max_han_ratio_other))
        return None


def _han(facts: Facts, limit: float) -> str:
    return f"{figure(facts.han_ratio)} of the visible characters is Han, limit {figure(limit)}"
