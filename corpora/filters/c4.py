"""C4's rules on documents: filler text, curly brackets, too few sentences; and its cutting of lines."""

import re
from functools import cache
from typing import Any, ClassVar

from corpora.facts import Facts, Reason
from corpora.filters.quality_limits import C4Limits, ChineseC4Limits, EnglishLimits
from corpora.filters.quality_rule import QualityRule
from hanlm.text import MIN_HAN_RATIO, han_ratio

_SENTENCE_END = re.compile(r"""[.!?…]+["'”’)\]]*(?=\s|$)|[。！？｡]+[”’」』）》]*""")
_EVIDENCE = {"lorem_ipsum": "holds lorem ipsum, limit 0", "curly_bracket": "holds {, limit 0"}


class C4(QualityRule):
    """Drops what datatrove's ``C4QualityFilter`` drops, for the same reasons.

    It is datatrove's filter that decides. It is asked only where it might drop the document, and its sums for
    statistics, two fifths of its time, are left out. The text is never changed here; ``kept_lines`` does that.
    Sentences are counted by their closing marks, for which datatrove would ask spaCy.

    Source: Raffel et al. 2020 (arXiv:1910.10683), section 2.2.
    """

    name: ClassVar[str] = "c4"

    def judge(self, facts: Facts, limits: EnglishLimits) -> str | None:
        """Return ``c4_lorem_ipsum``, ``c4_curly_bracket``, ``c4_too_few_sentences`` or None."""
        return _verdict(facts.text, limits.c4)[0] if _might_drop(facts.text, limits.c4) else None


def kept_lines(text: str, limits: C4Limits) -> str:
    """Return the text without the lines and citation marks that C4 leaves out; whole where C4 drops the document."""
    reason, kept = _verdict(text, limits)
    return text if reason else kept


def remove_c4_lines(text: str) -> str:
    """Return the text with C4's cutting of lines: a cleaner, by the limits for Chinese where enough is Han.

    Of Chinese it cuts lines on JavaScript, cookies and policies and marks of citations. Lines lose their indent.
    """
    return kept_lines(text, ChineseC4Limits() if han_ratio(text) >= MIN_HAN_RATIO else C4Limits())


def count_sentences(text: str) -> int:
    """Return the number of sentences in the lines: closing marks, and what stands unclosed at a line's end."""
    total = 0
    for line in text.split("\n"):
        ends = [match.end() for match in _SENTENCE_END.finditer(line)]
        total += len(ends) + bool(line[ends[-1] :].strip() if ends else line.strip())
    return total


def _might_drop(text: str, limits: C4Limits) -> bool:
    if limits.min_num_sentences or (limits.filter_curly_bracket and "{" in text):
        return True
    if not limits.filter_lorem_ipsum:
        return False
    from datatrove.pipeline.filters.c4_filters import CITATION_REGEX

    # A citation's mark that is taken out may join the two words.
    return "lorem ipsum" in (CITATION_REGEX.sub("", text) if limits.remove_citations else text).lower()


def _verdict(text: str, limits: C4Limits) -> tuple[str | None, str]:
    from datatrove.data import Document

    document = Document(text=text, id="")
    verdict = _filter(limits).filter(document)
    if isinstance(verdict, tuple):
        return Reason(f"c4_{verdict[1]}", _EVIDENCE.get(verdict[1], "")), text
    if limits.min_num_sentences and (num := count_sentences(document.text)) < limits.min_num_sentences:
        measured = f"number of sentences in lines that C4 keeps {num}, limit {limits.min_num_sentences}"
        return Reason("c4_too_few_sentences", measured), text
    return None, document.text


@cache
def _filter(limits: C4Limits) -> Any:
    from datatrove.pipeline.filters.c4_filters import C4QualityFilter

    class WithoutStatistics(C4QualityFilter):
        def stat_update(self, *labels: str, value: int = 1, unit: str | None = None) -> None:
            """Count nothing: the pipeline counts reasons itself."""

    return WithoutStatistics(
        remove_citations=limits.remove_citations,
        filter_no_terminal_punct=limits.filter_no_terminal_punct,
        min_num_sentences=-1,
        min_words_per_line=-1 if limits.min_words_per_line is None else limits.min_words_per_line,
        max_word_length=-1 if limits.max_word_length is None else limits.max_word_length,
        filter_lorem_ipsum=limits.filter_lorem_ipsum,
        filter_javascript=limits.filter_javascript,
        filter_curly_bracket=limits.filter_curly_bracket,
        filter_policy=limits.filter_policy,
    )
