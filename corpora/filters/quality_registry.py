"""The quality rules by name: what the presets turn on, and how a rule is made of its limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from corpora.filters.quality_limits import QualityConfig
    from corpora.filters.quality_rule import QualityRule


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityStep:
    """What a user is told of a rule before it is loaded."""

    description: str
    """One line: what it drops."""
    target: str
    """``module:class`` of the rule, imported when it is asked for."""
    presets: frozenset[str] = frozenset({"web"})
    """Presets that turn it on."""

    def make(self, config: "QualityConfig") -> "QualityRule":
        """Return the rule with these limits."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)(config)


QUALITY_STEPS: Final[Mapping[str, QualityStep]] = MappingProxyType(
    {
        "gopher-repetition": QualityStep(
            description="text that repeats its lines or its n-grams of words",
            target="corpora.filters.gopher_repetition:GopherRepetition",
        ),
        "fineweb-quality": QualityStep(
            description="lists and menus: lines that end no sentence, repeat, or hold few words",
            target="corpora.filters.fineweb_quality:FineWebQuality",
        ),
        "gopher-quality": QualityStep(
            description="too few or odd words, symbols, bullets and ellipses, no stop words",
            target="corpora.filters.gopher_quality:GopherQuality",
        ),
        "c4": QualityStep(
            description="filler text; of English also program text and fewer than five sentences",
            target="corpora.filters.c4:C4",
        ),
    }
)
"""In the order in which FineWeb-2 runs them; C4, which it does not run, comes last."""
