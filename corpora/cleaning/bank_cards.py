"""Numbers of bank cards."""

import re
from collections.abc import Iterator
from typing import Final

from corpora.cleaning.resident_id import passes_luhn

_NUMBER: Final = re.compile(
    r"[2-69](?<![0-9A-Za-z._-].)(?<![0-9] .)"
    r"(?:[0-9]{15,18}|[0-9]{3}(?P<gap>[ -])[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}(?:(?P=gap)?[0-9]{1,3})?)"
    r"(?![0-9A-Za-z_])(?![ -][0-9])(?!\.[0-9])"
)
_UNIONPAY: Final = re.compile(r"62[0-9]{14,17}|9558[0-9]{15}|60[0-9]{14,17}")
_OTHER: Final = re.compile(
    r"(?:4[0-9]{15}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|35[0-9]{14})"
)
_CUE: Final = re.compile(r"卡号?|账[号户]|帐[号户]|银行|信用|储蓄|借记|賬號|銀行|card|visa|master", re.IGNORECASE)
_CUE_WITHIN: Final = 30


def find_bank_cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield where card numbers stand: 16 to 19 digits that pass Luhn's check, together or in groups of four.

    The first digits must be an issuer's: 62, 60 or 9558 (UnionPay and ICBC), or 4, 51 to 55, 2221 to 2720 and 35
    with 16 digits. As one run in ten passes Luhn by chance, and the numbers of posts and orders begin with 4 and 5
    too, those others need groups of four, or a word such as 卡号 or 银行 before them.
    """
    for match in _NUMBER.finditer(text):
        digits = re.sub("[ -]", "", match[0])
        if not passes_luhn(digits):
            continue
        is_told = match["gap"] or _CUE.search(text, max(0, match.start() - _CUE_WITHIN), match.start())
        if _UNIONPAY.fullmatch(digits) or (is_told and _OTHER.fullmatch(digits)):
            yield match.span()
