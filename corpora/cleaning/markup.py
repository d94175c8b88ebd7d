"""Markup reduced to the text it marks."""

import re
from typing import Final

from corpora.cleaning.bbcode import remove_bbcode
from corpora.cleaning.code import outside_code
from corpora.cleaning.html_tags import remove_tags
from corpora.cleaning.markdown_links import reduce_links
from corpora.cleaning.wiki_markup import remove_wiki_markup

_TAG_HINT: Final = re.compile(r"<[!/?A-Za-z]")
_LINK_HINT: Final = re.compile(r"\](?:\(|: ?[<h/.])|<https?:")
_BBCODE_HINT: Final = re.compile(r"\[/[A-Za-z]")
_WIKI_HINTS: Final = ("[[", "{{", "-{", "'''")
_MAX_ROUNDS: Final = 10


def remove_markup(text: str) -> str:
    """Return the text with HTML and XML tags, Markdown links and images, BBCode and wiki code reduced to their text.

    Headings, lists, emphasis and tables of Markdown stay: they are how much good text is written. Code, formulas
    and rows of tables are left alone (see ``corpora.cleaning.code``). Repeated until nothing changes, since markup
    nests; ten levels deep at most.
    """
    if not any(sign in text for sign in ("<", "[", "{", "'''")):
        return text
    for _ in range(_MAX_ROUNDS):
        before = text
        text = outside_code(before, _remove_once)
        if text == before:
            break
    return text


def _remove_once(text: str) -> str:
    if any(hint in text for hint in _WIKI_HINTS):
        text = remove_wiki_markup(text)
    if "[/" in text and _BBCODE_HINT.search(text):
        text = remove_bbcode(text)
    if ("](" in text or "]:" in text or "<http" in text) and _LINK_HINT.search(text):
        text = reduce_links(text)
    return remove_tags(text) if "<" in text and _TAG_HINT.search(text) else text
