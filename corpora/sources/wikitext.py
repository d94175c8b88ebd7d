"""Wikitext into plain text: what a reader of the page reads, without tables, boxes, notes and pictures."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from corpora.sources.wiki_templates import shown_by_template

_VARIANTS: Final = {
    "zh-hans": ("zh-hans", "zh-cn", "zh-sg", "zh-my", "zh", "zh-hant", "zh-tw", "zh-hk", "zh-mo"),
    "zh-hant": ("zh-hant", "zh-tw", "zh-hk", "zh-mo", "zh", "zh-hans", "zh-cn", "zh-sg", "zh-my"),
}
_CONVERSION = re.compile(r"-\{(?!\{)((?:(?!-\{)(?!\}-).)*)\}-", re.DOTALL)
_RULE = re.compile(r"^\s*(?:.*?=>)?\s*(zh(?:-[a-z]+)?)\s*:(.*)$", re.DOTALL)
_MAX_NESTED = 8
# The parser's time grows with the square of what is never closed: 5,000 templates took 17 seconds, 20,000 tags 27.
_MAX_UNCLOSED = 500
_OPENED_OR_CLOSED: Final = (
    re.compile(r"(\{\{)|\}\}"),
    re.compile(r"^[ \t:]*(\{\|)|\|\}", re.MULTILINE),
    re.compile(r"(\[)|\]"),
    re.compile(r"(<(?!(?:br|hr|wbr|li|dd|dt|td|th|tr)\b)[a-z])|</|/>", re.IGNORECASE),
)

_NO_TEXT: Final = frozenset(
    [
        "ref",
        "references",
        "table",
        "gallery",
        "imagemap",
        "timeline",
        "score",
        "templatestyles",
        "graph",
        "mapframe",
        "maplink",
        "hiero",
        "chem",
        "ce",
        "indicator",
        "categorytree",
        "inputbox",
        "section",
        "style",
        "script",
    ]
)
_NO_LINK = re.compile(
    r"^\s*(?:file|image|media|category|文件|檔案|档案|图像|圖像|图片|圖片|分类|分類|媒体|媒體|[a-z]{2,3}(?:-[a-z]+)*)\s*:",
    re.IGNORECASE,
)
_QUOTES = re.compile("'{2,5}")
# Stands where a template or a note was, so that what held on to it is tidied there and nowhere else.
_GONE = "\x01"
_AT_GONE = re.compile(r" ?\x01[\x01 ]*([,.;:!?)，。；：、！？）]?)")
_DOUBLE_SIGN = re.compile(r"([,，、;；])(?:\x01[,，、;；])+")
_LINE_BEGIN = re.compile(r"^ ?\x01+[,，、;；:：.。]+[ \t]*")
_EMPTY_BRACKETS = re.compile(r"[（(](?:[\s\x01，、；：,;:/]|又称|又稱|英语|英語)*[）)]")
# The look back keeps a long run of blanks and commas linear.
_SPOILT_BRACKETS = re.compile(r"([（(])[\s\x01，、；,;]+|(?<![\s\x01，、；,;：:])[\s\x01，、；,;：:]+([）)])")
_SWITCHES = re.compile(r"__[A-Z_]{3,}__")
_BLANKS = re.compile(r"[ \t\xa0]+")
_HEADING = "\x00"


def plain_text(wikitext: str, variant: str = "zh-hans") -> str | None:
    """Return the text of an article, headings as lines of their own; None where it cannot be parsed.

    Args:
        wikitext: The source of the page.
        variant: ``zh-hans`` or ``zh-hant``: which side of ``-{…}-`` is taken.
    """
    import mwparserfromhell
    from mwparserfromhell.parser import ParserError

    if any(_num_unclosed(pattern, wikitext) > _MAX_UNCLOSED for pattern in _OPENED_OR_CLOSED):
        return None
    try:
        code: Any = mwparserfromhell.parse(resolve_variants(wikitext, variant), skip_style_tags=True)
        text = "".join(_shown(code.nodes))
    except (ParserError, RecursionError):
        return None
    return _tidy(text)


def _num_unclosed(opened_or_closed: re.Pattern[str], wikitext: str) -> int:
    """Count what is opened and never closed after it."""
    num_unclosed = num_closed = 0
    for opened in reversed(opened_or_closed.findall(wikitext)):
        if not opened:
            num_closed += 1
        elif num_closed:
            num_closed -= 1
        else:
            num_unclosed += 1
    return num_unclosed


def resolve_variants(wikitext: str, variant: str = "zh-hans") -> str:
    """Return the text with its conversion markup ``-{…}-`` resolved to one variant.

    ``-{zh-hans:A;zh-hant:B}-`` gives one side, ``-{A}-`` and ``-{R|A}-`` give A, and the rules that only declare
    (flags ``H`` and ``T``) give nothing. See MediaWiki's "Writing systems/Syntax".
    """
    for _ in range(_MAX_NESTED):  # from the innermost outwards
        wikitext, count = _CONVERSION.subn(lambda match: _resolve(match[1], variant), wikitext)
        if not count:
            break
    return wikitext


def _resolve(markup: str, variant: str) -> str:
    flags, bar, content = markup.partition("|")
    names = [flag.strip() for flag in flags.split(";")]
    if not bar or not all(re.fullmatch(r"[A-Z+-]|zh(-[a-z]+)?|", name) for name in names):
        flags, content, names = "", markup, []
    if {"H", "T", "-"} & set(names):
        return ""
    if "R" in names:
        return content
    rules = _rules(content)
    if not rules:
        return content
    return next((rules[name] for name in _VARIANTS[variant] if name in rules), next(iter(rules.values())))


def _rules(content: str) -> dict[str, str]:
    """Return what each variant shows; nothing where the content is plain text."""
    rules: dict[str, str] = {}
    last = ""
    for part in content.split(";"):
        if found := _RULE.match(part):
            last = found[1]
            rules[last] = found[2].strip()
        elif last and part.strip():  # a semicolon of the text itself, such as that of an entity
            rules[last] += ";" + part
        elif part.strip():
            return {}
    return rules


def _shown(nodes: Sequence[Any]) -> Iterator[str]:
    from mwparserfromhell.nodes import ExternalLink, Heading, HTMLEntity, Tag, Template, Text, Wikilink

    for node in nodes:
        if isinstance(node, Text):
            yield node.value
        elif isinstance(node, Heading):
            title = "".join(_shown(node.title.nodes)).strip()
            yield f"\n{_HEADING}{node.level}{title}"
        elif isinstance(node, Wikilink):
            yield from _link(node)
        elif isinstance(node, Template):
            yield from _shown_or_gone(shown_by_template(node))
        elif isinstance(node, Tag):
            yield from _tag(node)
        elif isinstance(node, ExternalLink):
            yield from _shown(node.title.nodes) if node.title is not None else ()
        elif isinstance(node, HTMLEntity):
            yield node.normalize()
        # What is left says nothing to a reader: comments, and parameters of templates.


def _link(node: Any) -> Iterator[str]:
    title = str(node.title)
    if _NO_LINK.match(title):
        return
    if node.text is not None:
        yield from _shown(node.text.nodes)
    else:
        yield "".join(_shown(node.title.nodes)).strip().removeprefix(":")


def _shown_or_gone(parts: Iterator[Any]) -> Iterator[str]:
    text = "".join(part if isinstance(part, str) else "".join(_shown(part.nodes)) for part in parts)
    yield text or _GONE


def _tag(node: Any) -> Iterator[str]:
    name = str(node.tag).strip().lower()
    if name in _NO_TEXT:
        yield _GONE
        return
    if name == "br":
        yield "\n"
    elif name == "math":
        yield f"${str(node.contents).strip()}$"
    elif node.contents is not None:
        yield from _shown(node.contents.nodes)


def _tidy(text: str) -> str:
    text = _BLANKS.sub(" ", _SWITCHES.sub("", _QUOTES.sub("", text)))
    text = _DOUBLE_SIGN.sub(r"\1", _AT_GONE.sub(_closed_up, text))
    text = _SPOILT_BRACKETS.sub(r"\1\2", _EMPTY_BRACKETS.sub("", text))
    lines = [_BLANKS.sub(" ", _without_gone(line)).strip() for line in text.split("\n")]
    kept: list[str] = []
    for line in _without_empty_sections(lines):
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).strip()


def _closed_up(found: re.Match[str]) -> str:
    return _GONE + found[1] if found[1] or " " not in found[0] else f" {_GONE}"


def _without_gone(line: str) -> str:
    if _GONE not in line:
        return line
    if not any(char.isalnum() for char in line):
        return ""  # the full stop after a note, the bullet of a template
    return _LINE_BEGIN.sub("", line, count=1).replace(_GONE, "")


def _without_empty_sections(lines: list[str]) -> list[str]:
    """Return the lines without headings under which nothing is left, such as that of the notes."""
    kept: list[str] = []
    body_level = 0  # of the heading kept last, which is the next one below
    has_text = False
    for line in reversed(lines):
        if not line.startswith(_HEADING):
            has_text = has_text or any(char.isalnum() for char in line)
            kept.append(line)
            continue
        level = int(line[1])
        if has_text or level < body_level:
            kept.append(line[2:])
            body_level = level
        has_text = False
    return kept[::-1]
