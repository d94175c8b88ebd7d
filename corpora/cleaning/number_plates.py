"""Number plates of mainland China."""

import re
from collections.abc import Iterator
from typing import Final

PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
"""The provinces' short names that plates begin with."""
_LETTER: Final = "A-HJ-NP-Z"
_PLATE: Final = re.compile(
    rf"[{PROVINCES}][{_LETTER}][ ]?[·•]?[ ]?"
    rf"(?P<number>[DABCEFGHJK][{_LETTER}0-9][0-9]{{4}}|[0-9]{{5}}[DABCEFGHJK]|[{_LETTER}0-9]{{5}}|[{_LETTER}0-9]{{4}}[挂学警港澳领])"
    r"(?![0-9A-Za-z])"
)
_MIN_DIGITS: Final = 3


def find_plates(text: str) -> Iterator[tuple[int, int]]:
    """Yield where plates stand: ordinary ones of five places (GA 36: I and O are not used, two letters at most), those
    of new-energy cars of six, and those that end in 挂, 学, 警, 港, 澳 or 领."""
    for match in _PLATE.finditer(text):
        if sum(c.isdigit() for c in match["number"]) >= _MIN_DIGITS:
            yield match.span()
