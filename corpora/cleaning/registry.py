"""Every cleaner by name, in the order they run, and the presets they belong to."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Final, cast

from hanlm.errors import ConfigError

Cleaner = Callable[[str], str]
"""Takes a text and returns it mended: pure, idempotent, and able to travel to a worker process."""

PRESETS: Final = ("plain", "web")
"""The names of the presets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanerInfo:
    """What a user is told of a cleaner before it is loaded."""

    description: str
    """One line: what it does."""
    target: str
    """``module:attribute`` of the callable, imported when it is asked for."""
    presets: tuple[str, ...] = ()
    """Presets that turn it on."""
    chinese_only: bool = False
    """Whether it is for documents that are declared to be Chinese, and for no others."""


CLEANERS: Final[Mapping[str, CleanerInfo]] = MappingProxyType(
    {
        # Before normalise, which drops the C1 controls that broken UTF-8 is mended from.
        "repair": CleanerInfo(
            description="HTML entities, \\u escapes and wrongly decoded UTF-8 back into the characters they stand for",
            target="corpora.cleaning.repair:repair",
            presets=("web",),
        ),
        "normalise": CleanerInfo(
            description="one form of line ends, widths and Unicode, no controls, no blanks at line ends",
            target="hanlm.text:normalise",
            presets=("plain", "web"),
        ),
        "markup": CleanerInfo(
            description="HTML and XML tags, Markdown links and images, BBCode and wiki code reduced to their text",
            target="corpora.cleaning.markup:remove_markup",
            presets=("web",),
        ),
        "boilerplate": CleanerInfo(
            description="lines of copyright, licence numbers, navigation, sharing and page turning removed",
            target="corpora.cleaning.boilerplate:remove_boilerplate",
            presets=("web",),
        ),
        "urls": CleanerInfo(
            description="bare web addresses removed",
            target="corpora.cleaning.urls:remove_urls",
        ),
        "emoji": CleanerInfo(
            description="emoji removed: pictures with their skin tones and joiners, flags, keys",
            target="corpora.cleaning.emoji:remove_emoji",
        ),
        "spacing": CleanerInfo(
            description="blanks that scanning or crawling put between Han characters removed",
            target="corpora.cleaning.spacing:mend_spacing",
            presets=("web",),
        ),
        "rejoin-lines": CleanerInfo(
            description="lines that were broken at a fixed width joined to paragraphs, hyphenated words mended",
            target="corpora.cleaning.rejoin_lines:rejoin_lines",
            presets=("web",),
        ),
        "punctuation": CleanerInfo(
            description="half-width punctuation between Han made full-width, endless runs of a sign cut short",
            target="corpora.cleaning.punctuation:mend_punctuation",
            chinese_only=True,
        ),
        "to-simplified": CleanerInfo(
            description="traditional characters to simplified ones (OpenCC t2s)",
            target="corpora.cleaning.script:to_simplified",
            chinese_only=True,
        ),
        "to-traditional": CleanerInfo(
            description="simplified characters to traditional ones (OpenCC s2t)",
            target="corpora.cleaning.script:to_traditional",
            chinese_only=True,
        ),
        "personal-data": CleanerInfo(
            description="identity, phone and bank card numbers, e-mail addresses and number plates masked",
            target="corpora.cleaning.personal_data:mask_personal_data",
            presets=("web",),
        ),
    }
)
"""The cleaners in the order they run."""


def make(name: str) -> Cleaner:
    """Load the cleaner of this name.

    Raises:
        ConfigError: If there is no such cleaner.
    """
    if name not in CLEANERS:
        raise ConfigError(f"no cleaner is called {name!r}; expected one of {', '.join(CLEANERS)}.")
    module, _, attribute = CLEANERS[name].target.partition(":")
    return cast(Cleaner, getattr(import_module(module), attribute))


def ordered(names: Collection[str]) -> tuple[str, ...]:
    """Return the names in the order in which the cleaners run.

    Raises:
        ConfigError: If a name is unknown, or two of them undo each other.
    """
    if unknown := sorted(set(names) - set(CLEANERS)):
        raise ConfigError(f"no cleaner is called {unknown[0]!r}; expected some of {', '.join(CLEANERS)}.")
    if {"to-simplified", "to-traditional"} <= set(names):
        raise ConfigError("to-simplified and to-traditional undo each other; turn one of them off.")
    return tuple(name for name in CLEANERS if name in names)


def preset(name: str) -> tuple[str, ...]:
    """Return the names of the cleaners that a preset turns on, in the order they run.

    Raises:
        ConfigError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}; expected one of {', '.join(PRESETS)}.")
    return tuple(cleaner for cleaner, info in CLEANERS.items() if name in info.presets)
