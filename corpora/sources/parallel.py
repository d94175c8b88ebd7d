"""Parallel text: what is asked of pairs of sentences or paragraphs and their translations.

Training on such documents before plain Chinese is the first phase of Linly's curriculum (CVI-SZU/Linly).
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from hanlm.errors import ConfigError

type Template = Literal["lines", "paragraphs", "labelled"]

LANGUAGE_NAMES: Final = {
    "zh": ("中文", "Chinese"),
    "en": ("英文", "English"),
    "ja": ("日文", "Japanese"),
    "ko": ("韩文", "Korean"),
    "fr": ("法文", "French"),
    "de": ("德文", "German"),
    "ru": ("俄文", "Russian"),
    "es": ("西班牙文", "Spanish"),
    "pt": ("葡萄牙文", "Portuguese"),
    "it": ("意大利文", "Italian"),
    "ar": ("阿拉伯文", "Arabic"),
    "vi": ("越南文", "Vietnamese"),
    "th": ("泰文", "Thai"),
}
"""Of each language its name in Chinese and in English."""

_TEMPLATES: tuple[Template, ...] = get_args(Template.__value__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParallelConfig:
    """How parallel text is read and rendered."""

    languages: tuple[str, str] = ("zh", "en")
    """The languages of the two sides; the documents' language is both, such as `zh-en`."""
    fields: tuple[str, str] | None = None
    """Fields of the two sides in JSON lines; by default named as the languages, or `src` and `tgt`."""
    columns: tuple[int, int] = (0, 1)
    """Columns of the two sides in a .tsv, from 0."""
    templates: tuple[Template, ...] = _TEMPLATES
    """How a document may look: `lines` puts each translation under its original, `paragraphs` one language after the
    other, `labelled` says before each side which language it is. Which one a document gets, and which language comes
    first, hangs on a hash of its content."""
    max_chars: int = 2_000
    """Pairs that follow one another are packed into documents of up to so many characters, both sides together."""
    domain: str = "parallel"
    """Domain of the documents."""

    def __post_init__(self) -> None:
        first, second = self.languages
        if not first or not second or first == second:
            raise ConfigError(f"parallel text needs two different languages, got {list(self.languages)}.")
        if unknown := sorted(
            set(self.languages) - LANGUAGE_NAMES.keys()
        ):  # no filter would know them for two languages
            raise ConfigError(f"parallel text knows the languages {', '.join(LANGUAGE_NAMES)}; got {unknown[0]!r}.")
        if self.columns[0] == self.columns[1] or min(self.columns) < 0:
            raise ConfigError(f"parallel text needs two different columns from 0, got {list(self.columns)}.")
        if not self.templates or set(self.templates) - set(_TEMPLATES):
            raise ConfigError(f"parallel text knows the templates {', '.join(_TEMPLATES)}; got {list(self.templates)}.")
        if self.max_chars < 1:
            raise ConfigError(f"parallel text needs max_chars of at least 1, got {self.max_chars}.")

    @property
    def lang(self) -> str:
        """The documents' language."""
        return "-".join(self.languages)


def is_bilingual(lang: str) -> bool:
    """Say whether a language tag names two languages, as ``zh-en`` does and ``zh-Hant`` and ``zh-TW`` do not.

    Rules that ask for a share of Han have nothing to say of such documents.
    """
    return sum(part in LANGUAGE_NAMES for part in lang.split("-")) == 2
