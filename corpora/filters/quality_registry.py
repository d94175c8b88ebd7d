"""The quality rules by name: what the presets turn on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corpora.filters.quality_limits import QualityConfig
    from corpora.filters.quality_rule import QualityRule


@dataclass(frozen=True, slots=True)
class QualityStep:
    """One rule that can be turned on and off."""

    make: "Callable[[QualityConfig], QualityRule]"
    """Makes the rule of its limits."""
    description: str
    """What it drops, in one line."""
    presets: frozenset[str] = frozenset({"web"})
    """The presets that it is on in."""


def _gopher_repetition(config: "QualityConfig") -> "QualityRule":
    from corpora.filters.gopher_repetition import GopherRepetition

    return GopherRepetition(config)


def _fineweb_quality(config: "QualityConfig") -> "QualityRule":
    from corpora.filters.fineweb_quality import FineWebQuality

    return FineWebQuality(config)


def _gopher_quality(config: "QualityConfig") -> "QualityRule":
    from corpora.filters.gopher_quality import GopherQuality

    return GopherQuality(config)


def _c4(config: "QualityConfig") -> "QualityRule":
    from corpora.filters.c4 import C4

    return C4(config)


QUALITY_STEPS: dict[str, QualityStep] = {
    "gopher-repetition": QualityStep(_gopher_repetition, "text that repeats its lines or its n-grams of words"),
    "fineweb-quality": QualityStep(_fineweb_quality, "lists and menus: lines without an end mark, repeated, short"),
    "gopher-quality": QualityStep(_gopher_quality, "too few or odd words, symbols, bullets, no stop words"),
    "c4": QualityStep(_c4, "filler text; of English also program text and pages of fewer than five sentences"),
}
"""In the order in which FineWeb-2 runs them; C4, which it does not run, comes last."""
