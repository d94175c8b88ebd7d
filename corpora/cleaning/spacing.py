"""Blanks between Han characters that nobody wrote."""

import re
from typing import Final

from corpora.cleaning.code import outside_code

_HAN: Final = "\u4e00-\u9fff\u3400-\u4dbf\u3007\u3005"
_CLOSING: Final = "，。、；：？！）》〉」』】”’"
_OPENING: Final = "（《〈「『【"

# Patterns begin with the blank, for which Python's engine searches as fast as for a substring.
_BEFORE_SIGN: Final = re.compile(f" +(?=[{_CLOSING}])")
_HAN_OR_SIGN: Final = re.compile(f"[{_HAN}{_CLOSING}]")
_SIGN_HINT: Final = re.compile(rf" [{_CLOSING}]| (?<=[，、；：{_OPENING}] )[{_HAN}]")
_AFTER_SIGN: Final = re.compile(rf" (?<=[，、；：{_OPENING}] ) *(?=[{_HAN}“‘《（])")
_SPACED_HINT: Final = re.compile(rf" [{_HAN}] {{1,2}}[{_HAN}](?= |$|[{_CLOSING}])", re.MULTILINE)
_RUN: Final = re.compile(rf"(?<![{_HAN}])[{_HAN}](?: {{1,2}}[{_HAN}{_CLOSING}]){{3,}}(?![{_HAN}])")
_BETWEEN_HAN: Final = re.compile(rf"(?<=[{_HAN}{_CLOSING}{_OPENING}]) +(?=[{_HAN}{_CLOSING}{_OPENING}])")
_GAP: Final = re.compile(rf" (?<=[{_HAN}] )(?=[{_HAN}])")
_GAP_AT_SIGN: Final = re.compile(rf" (?<=[{_HAN}] )(?=[，。、；：？！])")
_HEADING: Final = re.compile(
    r"^(?:目 +[录錄]|[前序引导] +言|摘 +要|附 +[录錄]|[后後] +[记記]|[结結] +[论論]|[绪引] +论|致 +谢"
    r"|第 ?[一二三四五六七八九十百零〇]+ +[章节回卷篇编]|第 +[一二三四五六七八九十百零〇]+[章节回卷篇编])(?= |$)",
    re.MULTILINE,
)
_HEADING_HINT: Final = re.compile(r" [录錄言要记記论論谢章节回卷篇编](?= |$)", re.MULTILINE)
_SERIES_LISTED: Final = (
    "〇零一二三四五六七八九十百千万 甲乙丙丁戊己庚辛壬癸 子丑寅卯辰巳午未申酉戌亥 东南西北中東上下左右前后後 "
    "日月金木水火土一二三四五六 春夏秋冬 赤橙黄绿青蓝紫红白黑 大中小 是否有无对错男女√×"
)
_SERIES: Final = tuple(map(frozenset, _SERIES_LISTED.split()))
_MIN_SHARE_IN_WORDS: Final = 0.6
_MIN_GAPS_PER_HAN: Final = 0.25
_MIN_HAN_IN_LINE: Final = 12
_MAX_SERIES_SHARE: Final = 0.7


def mend_spacing(text: str) -> str:
    """Return the text without the blanks that scanning, crawling or a word cutter put between Han; idempotent.

    - ``中 国 人 民``: four and more single characters, of which jieba's dictionary finds at least 60% in words of two
      and more. A list of single characters (甲 乙 丙 丁, names of columns, marks of a table) makes no words and stays.
    - ``今天 天气 很 好 ，``: a line with a gap for every four Han and more, and one before its punctuation.
    - A blank before full-width closing punctuation, and after ，、；： or an opening bracket, beside Han.
    - A few headings (``目 录``, ``第 一 章``).

    One blank between two words stays: 第一条 为了, names in a row and verse are written so. Blanks between Han and
    Latin letters or digits stay as they are, and so do code, formulas and rows of tables.
    """
    if " " not in text:
        return text
    if not (_SIGN_HINT.search(text) or _SPACED_HINT.search(text) or _HEADING_HINT.search(text)):
        return text
    return outside_code(text, _mend)


def _mend(text: str) -> str:
    if _SPACED_HINT.search(text) or _GAP_AT_SIGN.search(text):
        text = "\n".join(_mend_line(line) if " " in line else line for line in text.split("\n"))
    text = _HEADING.sub(lambda match: match[0].replace(" ", ""), text)
    return _AFTER_SIGN.sub("", _BEFORE_SIGN.sub(_before_sign, text))


def _before_sign(match: re.Match[str]) -> str:
    """Drop the blanks before a sign that stand after Han or a sign; after Latin letters some write one."""
    before = match.string[match.start() - 1] if match.start() else ""
    return "" if _HAN_OR_SIGN.match(before) else match[0]


def _mend_line(line: str) -> str:
    if _is_cut_into_words(line):
        return _BETWEEN_HAN.sub("", line)
    if _SPACED_HINT.search(line) and "\t" not in line and "|" not in line and "   " not in line:
        return _RUN.sub(_joined, line)
    return line


def _is_cut_into_words(line: str) -> bool:
    num_gaps = len(_GAP.findall(line))
    if not num_gaps or not _GAP_AT_SIGN.search(line):
        return False
    num_han = len(re.findall(f"[{_HAN}]", line))
    return num_han >= _MIN_HAN_IN_LINE and num_gaps >= _MIN_GAPS_PER_HAN * num_han


def _joined(match: re.Match[str]) -> str:
    import rjieba

    joined = match[0].replace(" ", "")
    han = [c for c in joined if c not in _CLOSING]
    if any(sum(c in series for c in han) > _MAX_SERIES_SHARE * len(han) for series in _SERIES):
        return match[0]
    num_in_words = sum(len(word) for word in rjieba.cut(joined, False) if len(word) > 1)
    return joined if num_in_words >= _MIN_SHARE_IN_WORDS * len(han) else match[0]
