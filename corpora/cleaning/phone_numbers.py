"""Telephone numbers of mainland China."""

import re
from collections.abc import Iterator
from typing import Final

# The pattern begins with a plain character, for which the engine searches fast; what stands before is looked at then.
_MOBILE: Final = re.compile(
    r"1(?:3[0-9]|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])"
    r"(?:[0-9]{8}|(?P<gap>[ -])[0-9]{4}(?P=gap)[0-9]{4}(?!(?P=gap)[0-9]))"
    r"(?![0-9A-Za-z_])(?!\.[0-9])(?! ?(?:[元万亿人个次吨%％]|公里|字节|美元))"
)
_COUNTRY: Final = re.compile(r"(?:(?:\+|00)?86[ -]?|[(（]\+?86[)）] ?)$")
_WITHIN: Final = re.compile(r"(?:[0-9A-Za-z._#$¥￥]|[0-9A-Za-z]-)$")
_MAX_COUNTRY_CHARS: Final = 7
_LANDLINE: Final = re.compile(
    r"(?<![0-9A-Za-z.-])(?:\+?86[ -]?)?(?:[(（]0[1-9][0-9]{1,2}[)）] ?|0[1-9][0-9]{1,2}[ -])"
    r"[2-9][0-9]{6,7}(?:-[0-9]{1,5})?(?![0-9-])"
)


def find_mobiles(text: str) -> Iterator[tuple[int, int]]:
    """Yield where mobile numbers stand: 11 digits of an assigned range, together or as 3-4-4, with or without +86.

    Not inside longer runs of digits or identifiers, nor where a unit makes a quantity of them.
    """
    for match in _MOBILE.finditer(text):
        start = match.start()
        country = _COUNTRY.search(text, max(0, start - _MAX_COUNTRY_CHARS), start)
        if country and not _WITHIN.search(text, max(0, country.start() - 2), country.start()):
            yield country.start(), match.end()
        elif not (_WITHIN.search(text, max(0, start - 2), start) or (match["gap"] and _is_grouped(text, start))):
            yield match.span()


def _is_grouped(text: str, start: int) -> bool:
    """Say whether other digits stand a blank before, so that the groups may be a longer number's."""
    return start >= 2 and text[start - 1] == " " and text[start - 2].isdigit()


def find_landlines(text: str) -> Iterator[tuple[int, int]]:
    """Yield where numbers with an area code stand, extension included."""
    return (match.span() for match in _LANDLINE.finditer(text))
