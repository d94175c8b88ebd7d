"""Which language and script a text is in: Chinese told from Japanese and Korean, and its scripts from one another."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from corpora.facts import Facts, Reason, figure
from corpora.filters import script_table as codes
from corpora.filters.samples import spread_samples
from hanlm.errors import ConfigError

type Lang = Literal["zh", "yue", "ja", "ko", "en", "other"]
type Script = Literal["Hans", "Hant", "Hani", ""]

CHINESE_TAGS: Final = ("zh-Hans", "zh-Hant", "zh-Hani", "yue-Hans", "yue-Hant", "yue-Hani")
TAGS: Final = (*CHINESE_TAGS, "ja", "ko", "en", "other")
"""What ``Identified.tag`` can be; Hani is Han of both standards mixed."""

_CHARS_PER_CHUNK = 1 << 20  # bounds the memory of a 100 MB line to about 20 MB
_CHARS_FOR_ENGLISH = 4_000
_LATIN_WORD = re.compile(r"[^\W\d_]+")
# Words of which running English has a third, and which neither its neighbours nor pinyin write often.
_ENGLISH = frozenset(
    re.split(
        " ",
        "the of and to is that for with are this as by it from have not which you was be or an at he she they we has "
        "had were but can will",
    )
)
_MIN_ENGLISH = 0.1

# A word takes about so many characters of each script: documents in two languages belong to the one with more words.
_WORD_CHARS = {"han": 1.6, "kana": 2.0, "hangul": 2.5, "letters": 5.0}
_EVIDENCE = 3.0  # characters that count as no evidence, so that two of them do not make certainty


@dataclass(frozen=True, slots=True)
class Identified:
    """What a text is written in."""

    lang: Lang
    """``other`` covers every other language, and text without letters."""
    script: Script
    """``Hani`` where Simplified and Traditional are mixed; empty where the language is not Chinese."""
    confidence: float
    """0 to 1, from the share of the evidence that agrees and how much there is; 0.0 where there is none."""

    @property
    def tag(self) -> str:
        """The language tag, one of ``TAGS``."""
        return f"{self.lang}-{self.script}" if self.script else self.lang


def identify(text: str) -> Identified:
    """Say what a text is written in, from all of it.

    Text that Simplified and Traditional spell alike is given as Simplified with confidence 0.0.
    """
    counts = _Counts(_code_counts(text))
    words = counts.words
    total = sum(words.values())
    if not total:
        return Identified("other", "", 0.0)
    winner = max(words, key=lambda name: words[name])
    share = words[winner] / total
    if winner == "hangul":
        return Identified("ko", "", _sure(share, counts.hangul))
    if winner == "latin":
        return Identified(_latin_language(text), "", _sure(share, counts.latin))
    if winner == "other":
        return Identified("other", "", _sure(share, counts.other))
    return _japanese(counts, share) or _chinese(counts, share)


class _Counts:
    """Characters by what they tell."""

    def __init__(self, by_code: npt.NDArray[np.int64]) -> None:
        self._by_code = by_code
        self.latin, self.kana, self.hangul = (int(by_code[code]) for code in (codes.LATIN, codes.KANA, codes.HANGUL))
        self.other = int(by_code[codes.OTHER_LETTER])
        self.japanese = int(by_code[codes.HAN_JAPANESE])
        self.cantonese = int(by_code[codes.FIRST_CANTONESE :].sum())
        self.num_cantonese = int(np.count_nonzero(by_code[codes.FIRST_CANTONESE :]))
        self.han = int(by_code[codes.HAN :].sum())

    def side(self, side: int, *, in_jis: bool | None = None) -> int:
        """Count the Han of one side, all of them or those that JIS X 0208 has or lacks."""
        inside, outside = (int(self._by_code[codes.HAN + side + more]) for more in (0, codes.NOT_IN_JIS))
        return inside + outside if in_jis is None else inside if in_jis else outside

    @cached_property
    def not_in_jis(self) -> int:
        """Han that Japanese does not use."""
        sides = (codes.COMMON, codes.SIMPLIFIED, codes.TRADITIONAL)
        return sum(self.side(side, in_jis=False) for side in sides) + self.cantonese

    @cached_property
    def words(self) -> dict[str, float]:
        """About how many words the text has in each group of scripts."""
        letters = _WORD_CHARS["letters"]
        return {
            "han": self.han / _WORD_CHARS["han"] + self.kana / _WORD_CHARS["kana"],
            "hangul": self.hangul / _WORD_CHARS["hangul"],
            "latin": self.latin / letters,
            "other": self.other / letters,
        }


def _japanese(counts: _Counts, share: float) -> Identified | None:
    """Tell Japanese by its kana; without them by its own forms and by mixing what no Chinese standard mixes."""
    num = counts.han + counts.kana
    kana = counts.kana / num
    # Of running Japanese two fifths and more are kana; Chinese on Japanese things names them with under a tenth.
    if kana >= 0.2 or (kana >= 0.05 and counts.japanese >= 0.01 * num and counts.not_in_jis <= counts.kana):
        return Identified("ja", "", _sure(share, counts.kana + counts.japanese))
    mixed = min(counts.side(codes.SIMPLIFIED, in_jis=True), counts.side(codes.TRADITIONAL, in_jis=True))
    evidence = counts.japanese + mixed
    if evidence >= 2 and evidence >= 0.04 * num and 4 * counts.not_in_jis <= evidence:
        return Identified("ja", "", _sure(share, evidence))
    return None


def _chinese(counts: _Counts, share: float) -> Identified:
    # Cantonese has about 100 such characters in 1000; Mandarin that quotes some, or that says 唔 for hm, far fewer.
    is_cantonese = counts.cantonese >= max(2, 0.025 * counts.han) and counts.num_cantonese >= 2 + (
        counts.cantonese >= 12
    )
    simplified, traditional = counts.side(codes.SIMPLIFIED), counts.side(codes.TRADITIONAL)
    traditional += counts.japanese  # forms such as 説 and 産 also stand in old or Hong Kong prints
    lang: Lang = "yue" if is_cantonese else "zh"
    num = simplified + traditional
    if not num:
        return Identified(lang, "Hans", 0.0)
    part = traditional / num
    script: Script = "Hant" if part >= 0.8 else "Hans" if part <= 0.2 else "Hani"
    return Identified(lang, script, _sure(share * max(part, 1 - part), num))


def _sure(share: float, num_chars: int) -> float:
    return share * num_chars / (num_chars + _EVIDENCE)


def _latin_language(text: str) -> Lang:
    """Tell English from the other languages in Latin letters by its commonest words; lingua does it better."""
    words = [
        word for sample in spread_samples(text, _CHARS_FOR_ENGLISH) for word in _LATIN_WORD.findall(sample.lower())
    ]
    found = sum(word in _ENGLISH for word in words)
    # A title or a line of code has none of them: it passes for English unless it has letters that English lacks.
    short = len(words) < 12 and not found and all(word.isascii() for word in words)
    return "en" if short or found >= _MIN_ENGLISH * len(words) else "other"


def _code_counts(text: str) -> npt.NDArray[np.int64]:
    table = codes.script_table()
    total = np.zeros(codes.NUM_CODES, dtype=np.int64)
    for start in range(0, len(text), _CHARS_PER_CHUNK):
        chunk = text[start : start + _CHARS_PER_CHUNK].encode("utf-32-le", "surrogatepass")
        total += np.bincount(table.take(np.frombuffer(chunk, dtype=np.uint32), mode="clip"), minlength=codes.NUM_CODES)
    return total


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """Drops a document that its source declares Chinese and that is not: reason ``wrong_language``.

    What is mostly Latin is left to the share of Han, which allows Chinese full of code.
    """

    languages: tuple[str, ...] = CHINESE_TAGS
    """The tags that stay; ``(zh-Hans, zh-Hant)`` lets Cantonese go, ``(zh-Hans,)`` also Traditional."""
    min_confidence: float = 0.5
    """A document whose language is less sure than this is kept."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.languages) - set(CHINESE_TAGS))
        if unknown or not self.languages:
            wrong = unknown[0] if unknown else "none"
            raise ConfigError(f"expected languages among {', '.join(CHINESE_TAGS)}, got {wrong}; name one of these.")
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"expected min_confidence between 0 and 1, got {self.min_confidence}.")

    def __call__(self, facts: Facts, /) -> str | None:
        if not facts.is_chinese:
            return None
        found = identify(facts.text)
        if found.lang == "en" or found.tag in self.languages or found.confidence < self.min_confidence:
            return None
        wanted = "Chinese" if self.languages == CHINESE_TAGS else " or ".join(self.languages)
        sure = f"confidence {figure(found.confidence)}, limit {figure(self.min_confidence)}"
        return Reason("wrong_language", f"reads as {found.tag}, wanted {wanted}; {sure}")
