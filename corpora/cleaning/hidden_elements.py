"""What a page holds but does not show: comments, scripts, styles, drawings, footnotes of a wiki."""

import re
from functools import cache
from typing import Final

_START: Final = re.compile(
    r"<(?:(?P<comment>!--)|(?P<name>script|style|ref|svg)(?:\s[^<>]{0,2000})?(?<!/)>"
    r"|!\[CDATA\[|!DOCTYPE[^<>]{0,500}>|\?xml[^<>]{0,500}\?>|ref(?:\s[^<>]{0,500})?/>)",
    re.IGNORECASE,
)


def drop_hidden(text: str, *, keep_tags: bool = False) -> str:
    """Return the text without hidden elements, or with ``keep_tags`` without what stands in them.

    One that is never closed stays. In linear time, which one regular expression for start, content and end would not
    take where many are opened and none is closed.
    """
    parts: list[str] = []
    unclosed = set[str]()
    last = 0
    while (start := _START.search(text, last)) is not None:
        name = "--" if start["comment"] else (start["name"] or "").lower()
        end = _end(name).search(text, start.end()) if name and name not in unclosed else None
        if name and end is None:
            unclosed.add(name)
            parts.append(text[last : start.end()])
            last = start.end()
            continue
        parts.append(text[last : start.start()])
        if keep_tags:
            parts += [start[0], end[0] if end else ""]
        last = end.end() if end else start.end()
    return "".join([*parts, text[last:]])


@cache
def _end(name: str) -> re.Pattern[str]:
    return re.compile("-->" if name == "--" else rf"</{name}\s*>", re.IGNORECASE)
