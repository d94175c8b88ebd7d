"""Numbers of resident identity cards."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

_PROVINCES_LISTED: Final = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83"
)
_PROVINCES: Final = frozenset(_PROVINCES_LISTED.split())
_NUMBER: Final = re.compile(
    r"[1-8](?<![0-9A-Za-z.].)(?:[0-9]{5}(?P<gap>[ -]?)(?:19|20)[0-9]{6}(?P=gap)[0-9]{3}[0-9Xx]|[0-9]{14})"
    r"(?![0-9A-Za-z])(?!\.[0-9])"
)
_CUE: Final = re.compile(r"身份证|證件|证件|身份證|居民号|\bID\b", re.IGNORECASE)
_CUE_WITHIN: Final = 20
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_CHARS: Final = "10X98765432"
_FIRST_YEAR, _LAST_YEAR = 1900, 2049  # fixed, so that a text is masked alike on any day


def find_resident_ids(text: str) -> Iterator[tuple[int, int]]:
    """Yield where numbers of resident identity cards stand.

    Eighteen digits (also as 6-8-4): a region, a date and the check digit must be right (GB 11643-1999, which takes
    ISO 7064 MOD 11-2). The fifteen digits of the old form have no check digit: a number that passes Luhn's check is
    taken for a device's serial number (IMEI) unless words such as 身份证 stand before it.
    """
    for match in _NUMBER.finditer(text):
        number = re.sub("[ -]", "", match[0]).upper()
        if not _has_region(number):
            continue
        if len(number) == 18:
            if _is_date(number[6:14]) and check_digit(number[:17]) == number[17]:
                yield match.span()
        elif _is_date("19" + number[6:12]) and (
            not passes_luhn(number) or _CUE.search(text, max(0, match.start() - _CUE_WITHIN), match.start())
        ):
            yield match.span()


def check_digit(first_17: str) -> str:
    """Return the last character of an identity number, ``0`` to ``9`` or ``X``."""
    return _CHECK_CHARS[sum(w * int(d) for w, d in zip(_WEIGHTS, first_17, strict=True)) % 11]


def passes_luhn(digits: str) -> bool:
    """Say whether digits pass Luhn's check (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _has_region(number: str) -> bool:
    if number[:2] not in _PROVINCES:
        return False
    return number[:2] in {"71", "81", "82", "83"} or "01" <= number[2:4] <= "70" or number[2:4] == "90"


def _is_date(yyyymmdd: str) -> bool:
    try:
        day = date(int(yyyymmdd[:4]), int(yyyymmdd[4:6]), int(yyyymmdd[6:]))
    except ValueError:
        return False
    return _FIRST_YEAR <= day.year <= _LAST_YEAR
