"""Telephone numbers of mainland China."""

import re
from collections.abc import Iterator
from typing import Final

_SEGMENT: Final = "1(?:3[0-9]|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])"
_NOT_WITHIN: Final = r"(?<![0-9A-Za-z._#$¥￥])(?<![0-9A-Za-z]-)"
_NO_QUANTITY: Final = r"(?![0-9A-Za-z_])(?!\.[0-9])(?! ?(?:[元万亿人个次吨%％]|公里|字节|美元))"
_COUNTRY: Final = r"(?:(?:\+|00)?86[ -]?|[(（]\+?86[)）] ?)?"
_MOBILE: Final = re.compile(
    rf"{_NOT_WITHIN}{_COUNTRY}"
    rf"(?:{_SEGMENT}[0-9]{{8}}|(?<![0-9] )(?P<start>{_SEGMENT})(?P<gap>[ -])[0-9]{{4}}(?P=gap)[0-9]{{4}}(?!(?P=gap)[0-9]))"
    rf"{_NO_QUANTITY}"
)
_LANDLINE: Final = re.compile(
    r"(?<![0-9A-Za-z.-])(?:\+?86[ -]?)?(?:[(（]0[1-9][0-9]{1,2}[)）] ?|0[1-9][0-9]{1,2}[ -])[2-9][0-9]{6,7}(?:-[0-9]{1,5})?(?![0-9-])"
)


def find_mobiles(text: str) -> Iterator[tuple[int, int]]:
    """Yield where mobile numbers stand: 11 digits of an assigned range, together or as 3-4-4, with or without +86.

    Not inside longer runs of digits or identifiers, nor where a unit makes a quantity of them.
    """
    return (match.span() for match in _MOBILE.finditer(text))


def find_landlines(text: str) -> Iterator[tuple[int, int]]:
    """Yield where numbers with an area code stand, extension included."""
    return (match.span() for match in _LANDLINE.finditer(text))
