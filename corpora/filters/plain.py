"""Filters: the one reason why a document is left out, or none."""

from dataclasses import dataclass

from hanlm.text import base_language, han_ratio

_CHINESE = frozenset({"zh", "cmn", "yue", "lzh", "wuu"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """Limits on a normalised text."""

    min_chars: int
    """Fewest characters."""
    max_chars: int | None
    """Most characters; None is no limit."""
    min_han_ratio: float
    """Least share of Han in a Chinese document."""
    max_han_ratio_other: float
    """Largest share of Han in a document of another language."""

    def reason_to_drop(self, text: str, lang: str) -> str | None:
        """Return ``empty``, ``too_short``, ``too_long``, ``low_han_ratio``, ``high_han_ratio`` or None."""
        if not text or text.isspace():
            return "empty"
        if len(text) < self.min_chars:
            return "too_short"
        if self.max_chars is not None and len(text) > self.max_chars:
            return "too_long"
        ratio = han_ratio(text)
        if base_language(lang) in _CHINESE:
            return "low_han_ratio" if ratio < self.min_han_ratio else None
        return "high_han_ratio" if ratio > self.max_han_ratio_other else None
