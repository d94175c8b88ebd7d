"""What in a text is code, a formula or a table, which cleaners of prose leave alone."""

import re
from collections.abc import Callable
from typing import Final

_SPANS: Final = re.compile(
    r"(?P<fence>^[ \t]*(?P<mark>```|~~~)[^\n]*\n(?:.*?^[ \t]*(?P=mark)[`~]*[ \t]*$|.*\Z))"
    r"|(?P<row>^[ \t]*\|[^\n]*\|[ \t]*$)"
    r"|(?P<inline>(?<!`)(?P<ticks>`{1,3})(?!`)[^\n]{1,300}?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<display>\$\$[^$]{1,2000}\$\$)"
    r"|(?P<formula>\$[^$\n]{1,200}\$)",
    re.MULTILINE | re.DOTALL,
)
_MARKS: Final = re.compile(r"[`$|]|~~~")
_STATEMENT: Final = re.compile(
    r"""(?x)
      ^(?:async\ )?(?:def|class)\ \w+.*:$                             # Python
    | ^(?:import\ [\w.]+|from\ [\w.]+\ import\b)
    | ^(?:if|elif|else|for|while|try|except|finally|with)\b.*:$
    | ^(?:return|raise|assert|yield|del|print)\b
    | ^(?:break|continue|pass|end|fi|done|else)$
    | ^(?:\#\ ?(?:include|define|ifdef|ifndef|endif|if|pragma)\b|//|/\*|\*/|>>>\ |\$\ |@\w+)
    | ^(?:public|private|protected|static|const|let|var|func|fn|function|package|using|namespace|template|struct)\b
    | [;{}]$ | ^[\]})]+[,;]?$ | ^["'].*["'],?$ | [(\[{]$
    | \w\s*(?:[-+*/|&%^]?=|:=|[=!<>]=|<<|>>)\s*["'\w({\[-]           # an assignment, a comparison
    | \w(?:->|::)\w | => | && | \|\|
    | \w\([^()\u4e00-\u9fff]*\)[:;,]?$                               # a call
    """
)
_REFERENCE_OR_TAG: Final = re.compile(r"&(?:#?\w{1,31};)+|</?[A-Za-z][^<>]{0,300}>")
_COMMENT: Final = re.compile(r"^(?:#|//|\*|\"\"\"|''')")
_MIN_SHARE_OF_CODE: Final = 0.3
_MIN_SHARE_IN_BLOCK: Final = 0.5
_MIN_CODE_LINES: Final = 3
_SIGNS_OF_CODE: Final = ";{}()=_"
_MIN_SHARE_OF_SIGNS: Final = 0.01  # programs have 3% and more
_MIN_SHARE_OF_SIGNS_MINIFIED, _MIN_CHARS_MINIFIED = 0.1, 1000
_MAX_SHARE_OF_HAN: Final = 0.4


def is_code(text: str) -> bool:
    """Say whether a whole text reads as a program: at least three lines and 30% of its lines are statements,
    or of 1000 characters and more one in ten is a sign of code, as in minified scripts.

    Lines that begin with a tag are none: they are what is left of a web page more often than a program.
    """
    if not _has_signs_of_code(text):
        return False
    if len(text) >= _MIN_CHARS_MINIFIED and _share_of_signs(text) >= _MIN_SHARE_OF_SIGNS_MINIFIED:
        return _share_of_signs(_REFERENCE_OR_TAG.sub("", text)) >= _MIN_SHARE_OF_SIGNS_MINIFIED
    lines = [line for raw in text.split("\n") if (line := raw.strip()) and not _COMMENT.match(line)]
    limit = max(_MIN_CODE_LINES, _MIN_SHARE_OF_CODE * len(lines))
    return len(lines) >= limit and sum(map(_is_statement, lines)) >= limit


def outside_code(text: str, change: Callable[[str], str], inside: Callable[[str], str] | None = None) -> str:
    """Apply a function to the stretches of a text between code, formulas and rows of tables, and another ``inside``.

    Code is what stands in fences or backticks, formulas what stands in dollar signs, a row what begins and ends
    with ``|``; paragraphs of which half the lines are statements are code too, and so is all of a text for which
    ``is_code`` holds.
    """
    if inside is None:
        if change(text) == text:  # mostly so, and cheaper to ask than to look for code
            return text
        inside = _unchanged
    if is_code(text):
        return inside(text)
    parts: list[str] = []
    end = 0
    if _MARKS.search(text):
        for match in _SPANS.finditer(text):
            parts += [_outside_paragraphs(text[end : match.start()], change, inside), inside(match[0])]
            end = match.end()
    parts.append(_outside_paragraphs(text[end:], change, inside))
    return "".join(parts)


def _unchanged(text: str) -> str:
    return text


def _outside_paragraphs(text: str, change: Callable[[str], str], inside: Callable[[str], str]) -> str:
    """Apply the function to what stands between paragraphs of code."""
    parts: list[str] = []
    prose: list[str] = []
    for block in re.split(r"(\n[ \t]*\n)", text):
        if _is_code_block(block):
            parts += [change("".join(prose)), inside(block)]
            prose = []
        else:
            prose.append(block)
    return "".join([*parts, change("".join(prose))])


def _has_signs_of_code(text: str) -> bool:
    """Ask cheaply whether a text can be a program at all; prose mostly cannot."""
    if _share_of_signs(text) < _MIN_SHARE_OF_SIGNS:
        return False
    # A Han character has three bytes: two more than it has characters.
    return len(text.encode("utf-8", "surrogatepass")) - len(text) < 2 * _MAX_SHARE_OF_HAN * len(text)


def _share_of_signs(text: str) -> float:
    return sum(map(text.count, _SIGNS_OF_CODE)) / max(1, len(text))


def _is_code_block(block: str) -> bool:
    if not _has_signs_of_code(block):
        return False
    lines = [line for raw in block.split("\n") if (line := raw.strip())]
    return len(lines) >= _MIN_CODE_LINES and sum(map(_is_statement, lines)) >= _MIN_SHARE_IN_BLOCK * len(lines)


def _is_statement(line: str) -> bool:
    """Say whether a line reads as code, the references and tags of HTML in it aside."""
    if line.startswith("<") or len(line) > 300:
        return False
    if "&" in line or "<" in line:
        line = _REFERENCE_OR_TAG.sub("", line)
    return _STATEMENT.search(line) is not None and not line.endswith(("。", "，", "？", "！"))
