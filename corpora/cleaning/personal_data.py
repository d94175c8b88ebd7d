"""Personal data replaced by the name of its type."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Final

from corpora.cleaning.code import outside_code
from corpora.cleaning.number_plates import PROVINCES
from hanlm.errors import ConfigError

Finder = Callable[[str], Iterator[tuple[int, int]]]

_FINDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # In this order: where two types overlap, the one with the stronger check wins.
        "resident-id": "resident_id:find_resident_ids",
        "bank-card": "bank_cards:find_bank_cards",
        "mobile": "phone_numbers:find_mobiles",
        "landline": "phone_numbers:find_landlines",
        "email": "email_addresses:find_emails",
        "plate": "number_plates:find_plates",
        "passport": "passports_and_hosts:find_passports",
        "ipv4": "passports_and_hosts:find_ipv4",
    }
)
TYPES: Final = tuple(_FINDERS)
"""The types of personal data."""
DEFAULT_TYPES: Final = ("resident-id", "bank-card", "mobile", "email", "plate")
"""The types that are masked unless others are asked for."""
DEFAULT_TAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "resident-id": "【身份证号】",
        "bank-card": "【银行卡号】",
        "mobile": "【手机号】",
        "landline": "【电话号码】",
        "email": "【邮箱】",
        "plate": "【车牌号】",
        "passport": "【护照号】",
        "ipv4": "【IP地址】",
    }
)
"""What stands for each type."""

# Their digits must not be a part of an address, or in code of an expression.
_NUMBERS: Final = frozenset(("bank-card", "mobile", "landline", "passport"))
# One pass over the text asks for all usual types but e-mail. A pattern that begins with one class is searched fastest.
_HINT: Final = re.compile(
    rf"[0-9{PROVINCES}](?:(?<=[0-9])(?:[ -]?[0-9]){{10}}|(?<=[{PROVINCES}])[A-HJ-NP-Z][ ·•A-HJ-NP-Z0-9])"
)
_DOMAIN: Final = re.compile(r"[@＠][A-Za-z0-9-]{1,63}\.[A-Za-z0-9]")
_WITHOUT_HINT: Final = ("landline", "passport", "ipv4")
_MAX_ADDRESS_CHARS: Final = 300
_QUOTES: Final = "\"'`“”"


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonalData:
    """Which personal data is masked, and by what."""

    types: tuple[str, ...] = DEFAULT_TYPES
    """Types to mask, of resident-id, bank-card, mobile, landline, email, plate, passport, ipv4."""
    tags: dict[str, str] = field(default_factory=dict[str, str])
    """Tags that differ from the usual, by type."""

    def __post_init__(self) -> None:
        if unknown := sorted({*self.types, *self.tags} - set(TYPES)):
            raise ConfigError(
                f"no type of personal data is called {unknown[0]!r}; expected some of {', '.join(TYPES)}."
            )
        for name, tag in self.tags.items():
            if not tag or re.search(r"[0-9@\n]", tag):
                raise ConfigError(f"expected a tag for {name} without digits, @ and line breaks, got {tag!r}.")

    def __call__(self, text: str) -> str:
        """Return the text masked."""
        return self.mask(text)[0]

    def mask(self, text: str) -> tuple[str, Counter[str]]:
        """Return the text masked, and how many of each type were; idempotent. Expects ASCII digits (``normalise``)."""
        counts = Counter[str]()
        possible = TYPES if _may_hold_usual(text) else _WITHOUT_HINT
        types = tuple(name for name in possible if name in self.types)
        if not any(True for name in types for _ in _finder(name)(text)):
            return text, counts
        return outside_code(
            text,
            lambda prose: self._masked(prose, types, counts, in_code=False),
            lambda code: self._masked(code, types, counts, in_code=True),
        ), counts

    def _masked(self, text: str, types: tuple[str, ...], counts: Counter[str], *, in_code: bool) -> str:
        spans: list[tuple[int, int, str]] = []
        taken = bytearray(len(text))
        for name in types:
            for start, end in _finder(name)(text):
                if not any(taken[start:end]) and (
                    name not in _NUMBERS or self._stands_alone(text, start, end, in_code)
                ):
                    spans.append((start, end, name))
                    taken[start:end] = b"\1" * (end - start)
        parts: list[str] = []
        last = 0
        for start, end, name in sorted(spans):
            parts += [text[last:start], self.tags.get(name, DEFAULT_TAGS[name])]
            counts[name] += 1
            last = end
        return "".join([*parts, text[last:]])

    def _stands_alone(self, text: str, start: int, end: int, in_code: bool) -> bool:
        """Say whether a number is neither part of a web address nor, in code, of an expression: there it is quoted."""
        if in_code:
            return start > 0 and text[start - 1] in _QUOTES and end < len(text) and text[end] in _QUOTES
        tags = tuple(self.tags.get(name, tag) for name, tag in DEFAULT_TAGS.items())
        return _address_before(tags).search(text, max(0, start - _MAX_ADDRESS_CHARS), start) is None


_USUAL: Final = PersonalData()


def mask(text: str) -> tuple[str, Counter[str]]:
    """Return the text with the usual types masked, and how many of each were."""
    return _USUAL.mask(text)


def mask_personal_data(text: str) -> str:
    """Return the text with the usual types masked by their usual tags."""
    return mask(text)[0]


def _may_hold_usual(text: str) -> bool:
    return _HINT.search(text) is not None or (("@" in text or "＠" in text) and _DOMAIN.search(text) is not None)


@cache
def _address_before(tags: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches a web address up to the end of a text, whatever of it is masked already."""
    masked = "|".join(map(re.escape, tags))
    return re.compile(rf"(?:://|www\.)(?:{masked}|[^\s\"'<>（）\u3001-\u9fff])*$")


@cache
def _finder(name: str) -> Finder:
    module, _, function = _FINDERS[name].partition(":")
    finder: Finder = getattr(import_module(f"corpora.cleaning.{module}"), function)
    return finder
