"""HTML and XML tags: which of them are markup, and which only look like it."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from corpora.cleaning.hidden_elements import drop_hidden

_BLOCK_LISTED: Final = """
address article aside blockquote br body caption center dd details div dl dt fieldset figcaption figure footer
form h1 h2 h3 h4 h5 h6 head header hr html legend li main nav ol option p pre section select summary table
tbody tfoot thead title tr ul
"""
_BLOCK: Final = frozenset(_BLOCK_LISTED.split())
_CELL: Final = frozenset(("td", "th"))
_INLINE_LISTED: Final = """
a abbr acronym b bdo big button cite code del dfn em embed font i iframe img input ins kbd label link marquee
meta object param q rp rt ruby s samp small source span strike strong sub sup td textarea th tt u var video
wbr audio canvas col colgroup base area map noscript picture o:p st1 v:shape
"""
_INLINE: Final = frozenset(_INLINE_LISTED.split())
_KNOWN: Final = _BLOCK | _CELL | _INLINE
_SINGLE: Final = frozenset(("br", "hr"))
"""Elements that are markup without attributes and without an end."""
_END_OPTIONAL_LISTED: Final = "p li td tr th dd dt option tbody thead colgroup"
_END_OPTIONAL: Final = frozenset(_END_OPTIONAL_LISTED.split())
_FLAGS_LISTED: Final = """
async autoplay checked compact controls defer disabled hidden loop multiple muted noshade nowrap readonly
required reversed selected
"""
_FLAGS: Final = frozenset(_FLAGS_LISTED.split())

_TAG: Final = re.compile(r"<(/?)([A-Za-z][\w:.-]*)((?:\s[^<>]{0,2000}|/)?)>")
_ATTRIBUTES: Final = re.compile(
    r"(?:\s+[\w:@.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=]+)|\s+[A-Za-z]+(?=[\s/]|$))*\s*/?"
)
_FLAG: Final = re.compile(r"\s([A-Za-z]+)(?=[\s/]|$)(?!\s*=)")
_HIDDEN_HINT: Final = re.compile(r"<[!?]")
_SPOKEN_OF: Final = re.compile(
    r"(?:标[记签识]|標[記籤簽]|元素|\btags?|\belements?)[ :：]{0,2}</?[A-Za-z][^<>\n]{0,200}>"
    r"|</?[A-Za-z][^<>\n]{0,200}> ?(?:标[记签识]|標[記籤簽]|元素|tags?\b|elements?\b)"
    r"|[“「『\"'(（]</?[A-Za-z][^<>\n]{0,200}>[”」』\"')）]"
    r"|(?:HTML|XML|html|xml) ?(?:标[记签识]|標[記籤簽]|元素|代[码碼]|源[码碼]|文[档檔])"
    r"|(?:HTML|XML|html|xml) (?:tags?|elements?|code|document)\b"
)
_HAN_BESIDE: Final = re.compile(r"\s*[\u4e00-\u9fff\u3001-\u3011“‘（]")
_BLANK_LINES: Final = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def remove_tags(text: str) -> str:
    """Return the text without tags: blocks become line breaks, cells blanks; scripts, styles and comments go.

    A tag is markup if it closes an element of HTML, if it has attributes with values, or if it opens an element
    that is closed elsewhere in the text. ``<br>`` and ``<hr>`` always are, elements without an obligatory end from
    the second on. Elements of XML are those that are opened and closed, if Han stands right within any of them. So
    ``a < b``, ``List<String>``, ``#include <map>`` and a lone ``<div>`` stay. A text that speaks of tags, as in
    标签 <b>, "<b>", (<b>) or HTML 代码, keeps all of them.
    """
    if not (_TAG.search(text) or _HIDDEN_HINT.search(text)):
        return text
    if _SPOKEN_OF.search(drop_hidden(text, keep_tags=True)):
        return text
    text = drop_hidden(text).replace("]]>", "") if "<![CDATA[" in text else drop_hidden(text)
    tags = _Tags(text)
    stripped = _TAG.sub(tags.replacement, text)
    return _BLANK_LINES.sub("\n\n", stripped) if tags.has_block else stripped


@dataclass
class _Tags:
    """The tags of a text, counted where that is first asked for."""

    text: str
    has_block: bool = False

    def replacement(self, match: re.Match[str]) -> str:
        if not self._is_markup(match):
            return match[0]
        name = match[2].lower()
        if name in _BLOCK or name not in _KNOWN:
            self.has_block = True
            return "\n"
        return " " if name in _CELL else ""

    def _is_markup(self, match: re.Match[str]) -> bool:
        name, attributes = match[2].lower(), match[3]
        if name not in _KNOWN:
            return match[2] in self._elements_of_xml
        if match[1]:
            return not attributes.strip()
        if attributes.strip(" \t\n/"):
            return _ATTRIBUTES.fullmatch(attributes) is not None and (
                "=" in attributes or all(flag.lower() in _FLAGS for flag in _FLAG.findall(attributes))
            )
        opened, closed = self._counts
        return name in _SINGLE or closed[name] > 0 or (name in _END_OPTIONAL and opened[name] > 1)

    @cached_property
    def _counts(self) -> tuple[Counter[str], Counter[str]]:
        opened, closed = Counter[str](), Counter[str]()
        for match in _TAG.finditer(self.text):
            (closed if match[1] else opened)[match[2].lower()] += 1
        return opened, closed

    @cached_property
    def _elements_of_xml(self) -> frozenset[str]:
        opened, closed, beside = set[str](), set[str](), set[str]()
        for match in _TAG.finditer(self.text):
            name = match[2]
            (closed if match[1] else opened).add(name)
            if match[1]:
                is_beside = _HAN_BESIDE.match(self.text[max(0, match.start() - 1) : match.start()])
            else:
                is_beside = _HAN_BESIDE.match(self.text, match.end())
            if is_beside:
                beside.add(name)
        # An element that holds others only, such as <doc>, goes where its children do.
        pairs = opened & closed
        return frozenset(pairs) if pairs & beside else frozenset()
