"""Lines that a web page puts around its text."""

import re

from corpora.cleaning.boilerplate_lines import HINT, MAX_SHORT_LINE, RARE_HINT, is_certain, is_likely
from corpora.cleaning.code import is_code

_MAX_LINE_CHARS, _MAX_LIKELY_CHARS = 200, 16
_MIN_IN_A_ROW_AT_EDGE, _MIN_IN_A_ROW = 2, 3


def remove_boilerplate(text: str) -> str:
    """Return the text without the lines that are a page's furniture, by rules, whole lines only.

    Certain lines go wherever they stand (``© 2020 …版权所有``, ``京ICP备…``, ``首页 | 新闻 | 登录``, 点击查看更多).
    A likely line, such as a lone 下一页 or 登录, may be a heading. It goes beside a certain one, in a run of three
    different ones, or in a run of two at the text's beginning or end, blank lines aside. Lines in fences and programs
    stay. A text of nothing but such lines becomes empty.
    """
    lines = text.split("\n")
    short = [line for line in lines if len(line) <= MAX_SHORT_LINE]
    longer = [line for line in lines if MAX_SHORT_LINE < len(line) <= _MAX_LINE_CHARS]
    certain_lines = _certain_lines("\n".join(short), HINT) | _certain_lines("\n".join(longer), RARE_HINT)
    num_likely = sum(len(line) <= _MAX_LIKELY_CHARS and is_likely(line) for line in short)
    if not certain_lines and num_likely < _MIN_IN_A_ROW_AT_EDGE:
        return text
    visible = [i for i, line in enumerate(lines) if line and not line.isspace()]
    certain = {i for i in visible if lines[i] in certain_lines}
    likely = {i for i in visible if i not in certain and len(lines[i]) <= _MAX_LIKELY_CHARS and is_likely(lines[i])}
    dropped = certain | _confirmed(lines, visible, certain, likely)
    if not dropped or is_code(text):
        return text
    dropped -= _fenced(lines)
    return _without(lines, dropped) if dropped else text


def _certain_lines(text: str, hints: re.Pattern[str]) -> set[str]:
    """Return the lines that are certain; only those are looked at in which a word of furniture occurs."""
    certain = set[str]()
    end = -1
    while (hint := hints.search(text, end + 1)) is not None:
        start = text.rfind("\n", end + 1, hint.start()) + 1 or end + 1
        end = text.find("\n", hint.end())
        end = len(text) if end < 0 else end
        if is_certain(text[start:end]):
            certain.add(text[start:end])
    return certain


def _confirmed(lines: list[str], visible: list[int], certain: set[int], likely: set[int]) -> set[int]:
    """Return the likely lines beside certain ones, or in a run of different ones."""
    confirmed = set[int]()
    run: list[int] = []
    for i in [*visible, -1]:
        if i in certain or i in likely:
            run.append(i)
            continue
        is_at_edge = bool(run) and (run[0] == visible[0] or run[-1] == visible[-1])
        if len({lines[j].strip() for j in run}) >= (_MIN_IN_A_ROW_AT_EDGE if is_at_edge else _MIN_IN_A_ROW) or (
            not certain.isdisjoint(run)
        ):
            confirmed.update(run)
        run = []
    return confirmed - certain


def _fenced(lines: list[str]) -> set[int]:
    inside, is_open = set[int](), False
    for i, line in enumerate(lines):
        if line.lstrip().startswith(("```", "~~~")):
            is_open = not is_open
        elif is_open:
            inside.add(i)
    return inside


def _without(lines: list[str], dropped: set[int]) -> str:
    """Leave lines out, and of the blank lines around them those that would double."""
    kept: list[str] = []
    after_drop = False
    for i, line in enumerate(lines):
        if i in dropped:
            after_drop = True
            continue
        is_blank = not line.strip()
        if is_blank and after_drop and (not kept or not kept[-1].strip()):
            continue
        kept.append(line)
        after_drop = after_drop and is_blank
    text = "\n".join(kept)
    return text if text.strip() else ""
