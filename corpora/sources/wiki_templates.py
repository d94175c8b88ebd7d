"""Templates that stand in running text: what a reader sees of them, by their names."""

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, Final

# What is not named here shows nothing: boxes, notes, navigation, and what templates compute.
_SHOWS_FIRST: Final = re.compile(
    r"(?:nowrap|nobr|le|link-[a-z-]+|internal link helper/.+|ilh|illm|illm2|linktext|small|smaller|big|vanchor|clarify"
    r"|nihongo|lang-[a-z-]+)",
    re.IGNORECASE,
)
_SHOWS_SECOND: Final = re.compile(r"lang|transl", re.IGNORECASE)
_QUOTES: Final = re.compile(r"(?:block|c|r)?quote|quotation", re.IGNORECASE)
_QUOTED: Final = ("1", "text", "quote")
_MEASURES: Final = re.compile(r"convert|cvt", re.IGNORECASE)
_BETWEEN_NUMBERS: Final = frozenset({"to", "and", "or", "by", "x", "-", "–", "+/-", "±"})
_FORMULAS: Final = re.compile(r"chem2?", re.IGNORECASE)


def shown_by_template(template: Any) -> Iterator[Any]:
    """Yield the wikicode that a template of mwparserfromhell's shows, or plain strings; nothing for most of them."""
    name = str(template.name).strip()
    given = [param.value for param in template.params if not param.showkey]
    if _QUOTES.fullmatch(name):
        key = next((key for key in _QUOTED if template.has(key, ignore_empty=True)), None)
        if key is not None:
            yield template.get(key).value
    elif _MEASURES.fullmatch(name):
        yield " ".join(_measure([str(value).strip() for value in given]))
    elif _FORMULAS.fullmatch(name):
        yield from given
    elif _SHOWS_FIRST.fullmatch(name):
        yield from given[:1]
    elif _SHOWS_SECOND.fullmatch(name):
        yield from given[1:2]


def _measure(values: list[str]) -> list[str]:
    """Return the number, or numbers, and the unit that they are given in: ``1300|mi|km`` is 1300 mi."""
    numbers = list(
        takewhile(lambda value: value in _BETWEEN_NUMBERS or value[:1].isdigit() or value[:1] in "-−", values)
    )
    return [*numbers, *values[len(numbers) : len(numbers) + 1]]
