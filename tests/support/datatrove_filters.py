"""datatrove's quality filters with our limits, made to take the words that our rules take."""

from functools import lru_cache

import pytest
import rjieba
from datatrove.data import Document
from datatrove.pipeline.filters import c4_filters, fineweb_quality_filter, gopher_quality_filter
from datatrove.pipeline.filters import gopher_repetition_filter as repetition_filter
from datatrove.pipeline.filters.base_filter import BaseFilter

from corpora.filters.c4 import count_sentences
from corpora.filters.quality_limits import EnglishLimits
from hanlm.config import to_plain

PREFIXES = {"gopher-quality": "gopher", "gopher-repetition": "gopher", "fineweb-quality": "fineweb", "c4": "c4"}


@lru_cache(4)
def _words(text: str, language: str = "") -> list[str]:
    return [word for raw in rjieba.cut(text, False) if (word := raw.strip())]


def _sentences(text: str, language: str = "") -> list[str]:
    return ["a sentence"] * count_sentences(text)


def share_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let datatrove's filters cut words with rjieba, and count sentences as we do, in place of spaCy."""
    for module in (fineweb_quality_filter, gopher_quality_filter, repetition_filter):
        monkeypatch.setattr(module, "split_into_words", _words)
    monkeypatch.setattr(c4_filters, "split_into_sentences", _sentences)


def make_filter(name: str, limits: EnglishLimits) -> BaseFilter:
    """Return datatrove's filter of our rule's name and limits; what is None with us is off there."""
    if name == "gopher-quality":
        return gopher_quality_filter.GopherQualityFilter(**to_plain(limits.gopher_quality))
    if name == "gopher-repetition":
        return repetition_filter.GopherRepetitionFilter(**to_plain(limits.gopher_repetition))
    if name == "fineweb-quality":
        off = {"line_punct_thr": 0, "short_line_thr": 999, "char_duplicates_ratio": 999, "new_line_ratio": 999}
        values = {key: off[key] if value is None else value for key, value in to_plain(limits.fineweb).items()}
        return fineweb_quality_filter.FineWebQualityFilter(**values)
    values = {key: -1 if value is None else value for key, value in to_plain(limits.c4).items()}
    return c4_filters.C4QualityFilter(**values)


def reason_of(name: str, datatrove_filter: BaseFilter, text: str) -> str | None:
    """Return datatrove's reason with our prefix, or None where it keeps the text."""
    verdict = datatrove_filter.filter(Document(text=text, id=""))
    if verdict is True:
        return None
    reason = verdict[1]
    return reason if reason.startswith("gopher_") else f"{PREFIXES[name]}_{reason}"
