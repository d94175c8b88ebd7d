"""Lines that were broken at a fixed width, joined to paragraphs again."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from corpora.cleaning.code import is_code
from corpora.cleaning.hyphens import joined_at_hyphen

_TERMINAL: Final = frozenset("。！？…”’」』】）》：；.!?:;\"')]}>|=")
_STARTS_ANEW: Final = re.compile(
    r"[ \t#>|=+•·*-]|[“「『【]|第[一二三四五六七八九十百千零〇\d]{1,6}[章回节條条卷部篇]"
    r"|[（(]?[一二三四五六七八九十\d]{1,3}[)）、.．:]\s?|\[\d+\]|[①-⑳]|[A-Za-z][.)、]\s|```|~~~|[图表]\s?\d"
)
_ITEMS: Final = ("\n- ", "\n* ", "\n ", "\n#", "\n|", "\n>")
_KEPT: Final = re.compile(r"[ \t#>|=`~]|[-*+•·] ")
_WIDE: Final = re.compile("[\u2e80-\u9fff\uff00-\uff60“”‘’…—]")
_HAN: Final = "\u4e00-\u9fff\u3400-\u4dbf"
_WITH_GAP: Final = re.compile(rf"[{_HAN}] [A-Za-z0-9]|[A-Za-z0-9] [{_HAN}]")
_WITHOUT_GAP: Final = re.compile(rf"[{_HAN}][A-Za-z0-9]|[A-Za-z0-9][{_HAN}]")

_MIN_BROKEN: Final = 5
_MIN_COLUMNS, _MIN_LATIN_COLUMNS, _MAX_COLUMNS = 40, 56, 160
_HAN_SLACK, _LATIN_SLACK = 6, 14
_MIN_SHARE_AT_WIDTH: Final = 0.85
_MIN_SHARE_BROKEN: Final = 0.5
_MAX_SHARE_WIDER: Final = 0.02
_MAX_SHARE_CAPITAL: Final = 0.5
_TOLERANCE: Final = 3


def rejoin_lines(text: str) -> str:
    """Return the text with lines joined that were broken at a fixed width, as in scanned books and mails; idempotent.

    A text is taken for broken by its lines alone: at least five lines, and half of those that another follows, end
    without terminal punctuation; 85% of them are within 6 columns (Latin: 14) of one width from 40 (Latin: 56) to
    160; at most 2% of all lines are wider; at most half of the lines that go on begin with a capital or as an item.
    A line near that width and without terminal punctuation is joined with the next, unless that begins a heading, an
    item, a quotation or is indented. Verse is narrower, lists are ragged, and ordinary paragraphs wider. Programs and
    fenced code stay.
    """
    if _is_plainly_whole(text):
        return text
    lines = text.split("\n")
    # Most texts have a line longer than any that was broken; to see that is cheap.
    if sum(len(line) > _MAX_COLUMNS for line in lines) > _MAX_SHARE_WIDER * len(lines):
        return text
    broken = _Broken.measure(lines)
    if broken is None or is_code(text):
        return text
    return "\n".join(_joined(lines, broken, text))


def _is_plainly_whole(text: str) -> bool:
    """See cheaply what most texts are: paragraphs with blank lines between them, lines that end a sentence, lists."""
    num_followed = text.count("\n")
    if num_followed <= _MIN_BROKEN or (num_followed := num_followed - 2 * text.count("\n\n")) <= _MIN_BROKEN:
        return True
    limit = (1.1 - _MIN_SHARE_BROKEN) * num_followed
    return text.count("。\n") - text.count("。\n\n") > limit or sum(map(text.count, _ITEMS)) > limit


@dataclass(frozen=True, slots=True)
class _Broken:
    """How a text was broken."""

    columns: int
    slack: int

    @classmethod
    def measure(cls, lines: list[str]) -> "_Broken | None":
        """Return the width at which the lines were broken, or None if they were not."""
        followed = [(line, following) for line, following in pairwise(lines) if line and following]
        unfinished = [pair for pair in followed if pair[0][-1] not in _TERMINAL]
        if len(unfinished) < max(_MIN_BROKEN, _MIN_SHARE_BROKEN * len(followed)):
            return None
        open_ends = sorted(_columns(line) for line, _ in unfinished)
        columns = open_ends[min(len(open_ends) - 1, int(0.97 * len(open_ends)))]
        sample = "".join(lines[:200])
        is_chinese = 2 * len(_WIDE.findall(sample)) > len(sample)
        slack = _HAN_SLACK if is_chinese else _LATIN_SLACK
        num_at_width = sum(columns - slack <= n <= columns + _TOLERANCE for n in open_ends)
        num_wider = sum(_columns(line) > columns + _TOLERANCE for line in lines)
        num_capital = sum(following[0].isupper() for _, following in unfinished)
        if (
            not (_MIN_COLUMNS if is_chinese else _MIN_LATIN_COLUMNS) <= columns <= _MAX_COLUMNS
            or num_at_width < _MIN_SHARE_AT_WIDTH * len(open_ends)
            or num_wider > _MAX_SHARE_WIDER * len(lines)
            or num_capital > _MAX_SHARE_CAPITAL * len(unfinished)
        ):
            return None
        return cls(columns, slack)


def _joined(lines: list[str], broken: _Broken, text: str) -> list[str]:
    with_gap = len(_WITH_GAP.findall(text)) > len(_WITHOUT_GAP.findall(text))
    result = [lines[0]]
    is_fenced = lines[0].startswith(("```", "~~~"))
    last = lines[0]
    for line in lines[1:]:
        if line.startswith(("```", "~~~")):
            is_fenced = not is_fenced
            goes_on = False
        else:
            goes_on = not is_fenced and _goes_on(last, line, broken)
        if goes_on:
            result[-1] = _glued(result[-1], line, with_gap, text)
        else:
            result.append(line)
        last = line
    return result


def _goes_on(last: str, line: str, broken: _Broken) -> bool:
    if not last or not line or last[-1] in _TERMINAL or _STARTS_ANEW.match(line):
        return False
    if _KEPT.match(last) and not last.startswith(("- ", "* ")):
        return False
    return _columns(last) >= broken.columns - 2 * broken.slack


def _glued(left: str, right: str, with_gap: bool, text: str) -> str:
    if (word := joined_at_hyphen(left, right, text)) is not None:
        return word
    is_wide = bool(_WIDE.match(left[-1])), bool(_WIDE.match(right[0]))
    if all(is_wide):
        return left + right
    if any(is_wide):
        is_letter = left[-1].isalnum() and right[0].isalnum()
        return f"{left} {right}" if with_gap and is_letter else left + right
    return f"{left} {right}"


def _columns(line: str) -> int:
    """Return the width on a grid where a Han character takes two columns."""
    # A Han character has three bytes and two columns, an ASCII character one and one.
    return len(line) if line.isascii() else (len(line) + len(line.encode("utf-8", "surrogatepass"))) // 2
