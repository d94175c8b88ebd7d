"""The limits of the quality rules, for Chinese and for English: every number and where it is from.

English: datatrove's defaults, which are the papers': Rae et al. 2021, Scaling Language Models (Gopher), section A.1
and table A1; Raffel et al. 2020, Exploring the Limits of Transfer Learning (C4), section 2.2; Penedo et al. 2024,
The FineWeb Datasets, section 3.5.
Chinese: what FineWeb-2 (Penedo et al. 2025) runs for ``cmn_Hani``: its file of limits ``configs/cmn_Hani.yml`` and,
where its pipeline hands a number to a filter itself, ``fineweb-2-pipeline.py``. What it leaves alone is datatrove's.
"""

from dataclasses import dataclass, field, fields

from hanlm.errors import ConfigError

type NGramLimits = tuple[tuple[int, float], ...]
"""Pairs of a number of words and the largest share of the text."""


def _check(limits: object) -> None:
    """Refuse what no text could pass or every text would: numbers below zero, n-grams of no words."""
    for entry in fields(limits):  # pyright: ignore[reportArgumentType]
        value = getattr(limits, entry.name)
        numbers = [number for pair in value for number in pair] if "n_grams" in entry.name else [value]
        if any(isinstance(number, int | float) and number < 0 for number in numbers):
            raise ConfigError(f"expected {entry.name} of a quality rule to be 0 or more, got {value}.")
        if "n_grams" in entry.name and any(n < 1 for n, _ in value):
            raise ConfigError(f"expected {entry.name} as pairs [words, share] of at least one word, got {value}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class GopherQualityLimits:
    """English limits of the rule ``gopher-quality``; None turns one off."""

    min_doc_words: int | None = 50
    """Fewest words, punctuation not counted."""
    max_doc_words: int | None = 100_000
    """Most words, punctuation not counted."""
    min_avg_word_length: float | None = 3
    """Shortest mean length of a word, in characters."""
    max_avg_word_length: float | None = 10
    """Longest mean length of a word, in characters."""
    max_symbol_word_ratio: float | None = 0.1
    """Most hash signs, and most ellipses, for each word."""
    max_bullet_lines_ratio: float | None = 0.9
    """Largest share of lines that start with a bullet or a hyphen."""
    max_ellipsis_lines_ratio: float | None = 0.3
    """Largest share of lines that end with an ellipsis."""
    max_non_alpha_words_ratio: float | None = 0.8
    """Least share of words with a letter (Han are letters); named as datatrove names it, though it is a least."""
    min_stop_words: int | None = 2
    """Fewest different words of ``stop_words``."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """Words that any real text uses."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChineseGopherQualityLimits(GopherQualityLimits):
    """Chinese limits of the rule ``gopher-quality``; None turns one off."""

    min_avg_word_length: float | None = 1
    max_avg_word_length: float | None = 5
    max_non_alpha_words_ratio: float | None = 0.735
    stop_words: tuple[str, ...] = tuple("的年在月是和日了於·為有被人中为他與後也而由")


@dataclass(frozen=True, kw_only=True, slots=True)
class GopherRepetitionLimits:
    """English limits of the rule ``gopher-repetition``, as shares of the text; None turns one off."""

    dup_line_frac: float | None = 0.3
    """Most lines that repeat an earlier line."""
    dup_para_frac: float | None = 0.3
    """Most paragraphs that repeat an earlier one."""
    dup_line_char_frac: float | None = 0.2
    """Most characters in repeated lines."""
    dup_para_char_frac: float | None = 0.2
    """Most characters in repeated paragraphs."""
    top_n_grams: NGramLimits = ((2, 0.2), (3, 0.18), (4, 0.16))
    """Most characters in the most frequent n-gram of words."""
    dup_n_grams: NGramLimits = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    """Most characters in n-grams of words that occurred before."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChineseGopherRepetitionLimits(GopherRepetitionLimits):
    """Chinese limits of the rule ``gopher-repetition``; FineWeb-2 turns the three on paragraphs and line characters
    off."""

    dup_line_frac: float | None = 0.287
    dup_para_frac: float | None = None
    dup_line_char_frac: float | None = None
    dup_para_char_frac: float | None = None
    top_n_grams: NGramLimits = ((2, 0.256), (3, 0.201), (4, 0.171))
    dup_n_grams: NGramLimits = ((5, 0.198), (6, 0.182), (7, 0.167), (8, 0.154), (9, 0.14), (10, 0.127))


@dataclass(frozen=True, kw_only=True, slots=True)
class C4Limits:
    """English limits of the rule ``c4``; a line that these leave out counts for nothing."""

    remove_citations: bool = True
    """Pass over marks such as ``[1]`` and ``[edit]``."""
    filter_no_terminal_punct: bool = True
    """Leave lines out that end in none of ``. ? ! " '``, or in an ellipsis."""
    min_words_per_line: int | None = 3
    """Leave lines out with fewer words, as white space divides them."""
    max_word_length: int | None = 1000
    """Leave lines out with a longer word, as white space divides them."""
    filter_javascript: bool = True
    """Leave lines out that speak of JavaScript."""
    filter_policy: bool = True
    """Leave lines out that speak of cookies, privacy policies and terms of use."""
    filter_lorem_ipsum: bool = True
    """Drop documents with the printers' filler text."""
    filter_curly_bracket: bool = True
    """Drop documents with a ``{``, which to C4 is the mark of program text."""
    min_num_sentences: int | None = 5
    """Drop documents with fewer sentences in the lines that are left."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChineseC4Limits(C4Limits):
    """Chinese limits of the rule ``c4``: FineWeb-2 runs none of it, and most of it cannot judge Chinese.

    No Chinese line ends in an ASCII full stop and a Chinese line has no white space between words, so with the
    English limits every document would lose every line; a ``{`` is as often code in a good technical text; and
    nobody has measured how many sentences a Chinese page needs. The filler text is left, which no good text has.
    """

    filter_no_terminal_punct: bool = False
    min_words_per_line: int | None = None
    max_word_length: int | None = None
    filter_curly_bracket: bool = False
    min_num_sentences: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FineWebLimits:
    """English limits of the rule ``fineweb-quality``; None turns one off."""

    line_punct_thr: float | None = 0.12
    """Least share of lines that end with a mark that ends a sentence."""
    line_punct_exclude_zero: bool = False
    """Keep documents where no line at all ends so."""
    short_line_thr: float | None = 0.67
    """Largest share of short lines."""
    short_line_length: int = 30
    """Up to how many characters a line is short."""
    char_duplicates_ratio: float | None = 0.01
    """Largest share of characters in lines that repeat an earlier line."""
    new_line_ratio: float | None = 0.3
    """Most line ends for each word, punctuation counted."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChineseFineWebLimits(FineWebLimits):
    """Chinese limits of the rule ``fineweb-quality``; FineWeb-2 turns the one on short lines off."""

    line_punct_thr: float | None = 0.106
    short_line_thr: float | None = None
    char_duplicates_ratio: float | None = 0.1
    new_line_ratio: float | None = 0.178


@dataclass(frozen=True, kw_only=True, slots=True)
class EnglishLimits:
    """Limits for English documents, those that are to keep the model's English alive."""

    gopher_quality: GopherQualityLimits = field(default_factory=GopherQualityLimits)
    """Gopher's limits on words and lines."""
    gopher_repetition: GopherRepetitionLimits = field(default_factory=GopherRepetitionLimits)
    """Gopher's limits on what repeats."""
    c4: C4Limits = field(default_factory=C4Limits)
    """C4's limits."""
    fineweb: FineWebLimits = field(default_factory=FineWebLimits)
    """FineWeb's limits on lines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChineseLimits(EnglishLimits):
    """Limits for Chinese documents."""

    gopher_quality: ChineseGopherQualityLimits = field(default_factory=ChineseGopherQualityLimits)
    gopher_repetition: ChineseGopherRepetitionLimits = field(default_factory=ChineseGopherRepetitionLimits)
    c4: ChineseC4Limits = field(default_factory=ChineseC4Limits)
    fineweb: ChineseFineWebLimits = field(default_factory=ChineseFineWebLimits)


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityConfig:
    """The quality rules' limits by the document's language."""

    zh: ChineseLimits = field(default_factory=ChineseLimits)
    """For Chinese."""
    en: EnglishLimits = field(default_factory=EnglishLimits)
    """For English."""
