"""Passport numbers and addresses of machines: masked only if asked for."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

_PASSPORT: Final = re.compile(r"(?<![A-Za-z0-9])(?:[DEGPS][0-9]{8}|E[A-HJ-NP-Z][0-9]{7})(?![A-Za-z0-9])")
_CUE: Final = re.compile(r"护照|護照|passport", re.IGNORECASE)
_CUE_WITHIN: Final = 20
_IPV4: Final = re.compile(r"(?<![0-9A-Za-z.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])")
_VERSION: Final = re.compile(r"(?:版本|version|ver\.?)[\s:：]*$", re.IGNORECASE)


def find_passports(text: str) -> Iterator[tuple[int, int]]:
    """Yield where passport numbers stand that a word such as 护照 announces; without it they look like any code."""
    for match in _PASSPORT.finditer(text):
        if _CUE.search(text, max(0, match.start() - _CUE_WITHIN), match.start()):
            yield match.span()


def find_ipv4(text: str) -> Iterator[tuple[int, int]]:
    """Yield where public IPv4 addresses stand; private and reserved ones name no one."""
    for match in _IPV4.finditer(text):
        try:
            is_global = ipaddress.IPv4Address(match[0]).is_global
        except ValueError:
            continue
        if is_global and not _VERSION.search(text[max(0, match.start() - 10) : match.start()]):
            yield match.span()
