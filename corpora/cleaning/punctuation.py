"""Punctuation of Chinese text: full-width between Han, and no endless runs."""

import re
from typing import Final

from corpora.cleaning.code import outside_code

_HAN: Final = "\u4e00-\u9fff\u3400-\u4dbf\u3007"
_BESIDE: Final = f"{_HAN}”’》」』）】%％"
_FULL_WIDTH: Final = {",": "，", ".": "。", "?": "？", "!": "！", ";": "；", ":": "："}
_BETWEEN: Final = re.compile(rf"(?<=[{_BESIDE}])[,?!;:](?=[{_HAN}“‘《「『（【])")
_AT_END: Final = re.compile(rf"(?<=[{_BESIDE}])[,.?!;:](?=[ \t]*(?:$|[”’」』）]))", re.MULTILINE)
_BRACKETS: Final = re.compile(
    rf"(?<![\w\])])\((?=[^()\n]{{0,80}}[{_HAN}])([^()\n]{{1,80}})\)|(?<=[{_HAN}])\(([^()\n]{{1,80}})\)"
)
_HAN_INSIDE: Final = re.compile(f"[{_HAN}]")
_RUNS: Final = re.compile(r"([。！？!?～~])\1{3,}|…{3,}|([，、；：])\2+|[·•]{7,}|(?<!\.)\.{7,}(?!\.)|。。。")
_HINT: Final = re.compile(rf"[,.?!;:(](?<=[{_BESIDE}].)|\((?=[^()\n]{{0,80}}[{_HAN}])")
_URL: Final = re.compile(r"[a-z]+://\S+", re.IGNORECASE)


def mend_punctuation(text: str) -> str:
    """Return the text with ``,?!;:`` between Han and ``,.?!;:`` after Han at a line's end full-width; idempotent.

    Round brackets become full-width where Han stands before or in them. Runs are bounded: three of 。！？, one of
    ，、；：, six dots. Code, formulas, tables, web addresses, and signs beside Latin letters or digits stay.
    """
    if not (_HINT.search(text) or _RUNS.search(text)):
        return text
    return outside_code(text, _outside_addresses)


def _outside_addresses(text: str) -> str:
    if "://" not in text:
        return _mend(text)
    parts: list[str] = []
    end = 0
    for match in _URL.finditer(text):
        parts += [_mend(text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, _mend(text[end:])])


def _mend(text: str) -> str:
    text = _BRACKETS.sub(_full_width_brackets, text)
    text = _AT_END.sub(_full_width, _BETWEEN.sub(_full_width, text))
    return _RUNS.sub(_bounded, text)


def _full_width(match: re.Match[str]) -> str:
    return _FULL_WIDTH[match[0]]


def _full_width_brackets(match: re.Match[str]) -> str:
    inner = match[1] or match[2]
    return f"（{inner}）" if _HAN_INSIDE.search(inner) else match[0]


def _bounded(match: re.Match[str]) -> str:
    sign = match[0][0]
    if sign in "，、；：":
        return sign
    if match[0] == "。。。":
        return "……"
    return {"…": "……", "·": "······", "•": "••••••", ".": "......", "。": "……"}.get(sign, sign * 3)
