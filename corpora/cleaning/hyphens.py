"""Words that were hyphenated at a line's end."""

import re
from typing import Final

_BEFORE: Final = re.compile(r"([A-Za-z]{2,})-$")
_AFTER: Final = re.compile(r"[a-z]{2,}")
_FIRST_PARTS_LISTED: Final = """
well self ex non half high low long short all cross multi user real full part large small open close second
first third two three four five six ten one single double old new post pre anti semi quasi left right state
hard soft fast slow decision data problem object time machine model end low top bottom mother father brother
sister son daughter so would much ever far never still widely newly highly
"""
_FIRST_PARTS: Final = frozenset(_FIRST_PARTS_LISTED.split())
_SECOND_PARTS_LISTED: Final = """
known like based free term level time up off down in out and of the to oriented specific aware driven made
scale dimensional purpose order class year old day by case friendly date law wide end defined quality called
looking minded sized speed range line threaded hand handed being esteem evident
"""
_SECOND_PARTS: Final = frozenset(_SECOND_PARTS_LISTED.split())


def joined_at_hyphen(left: str, right: str, text: str) -> str | None:
    """Return two lines joined where the first ends within a word, or None if it ends otherwise.

    ``exam-`` and ``ple`` become ``example``; ``well-`` and ``known`` keep their hyphen. What the text writes elsewhere
    decides, with or without the hyphen; then lists of parts that English joins with one; else the hyphen goes.
    """
    before, after = _BEFORE.search(left), _AFTER.match(right)
    if before is None or after is None:
        return None
    first, second = before[1].lower(), after[0]
    lower = text.lower()
    if f"{first}-{second}" in lower:
        return left + right
    if re.search(rf"\b{first}{second}\b", lower):
        return left[:-1] + right
    keeps = first in _FIRST_PARTS or second in _SECOND_PARTS
    return left + right if keeps else left[:-1] + right
