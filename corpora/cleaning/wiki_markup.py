"""What is left of MediaWiki's code where a dump was not parsed; whole dumps are read by their own source."""

import re
from typing import Final

_HAN: Final = "\u4e00-\u9fff"
_MEDIA: Final = re.compile(
    r"\[\[(?:File|Image|Category|文件|檔案|档案|图像|圖像|分类|分類):[^\[\]\n]{0,500}\]\]", re.IGNORECASE
)
_LINK: Final = re.compile(rf"\[\[(?=[^\[\]\n]{{0,200}}[{_HAN}])(?:[^\[\]|\n]{{1,200}}\|)?([^\[\]|\n]{{1,200}})\]\]")
_TEMPLATE: Final = re.compile(
    r"\{\{(?:cite|citation|reflist|main|see also|lang|link|internal|further|stub|infobox|authority|commons|dead link"
    r"|noteTA|auto link|le|link-[a-z]+|tsl|unreferenced|expand|fact|refbegin|refend|defaultsort|reflist)"
    r"\b[^{}]{0,2000}\}\}",
    re.IGNORECASE,
)
_BOLD: Final = re.compile(rf"'''(?=[^'\n]{{0,200}}[{_HAN}])((?! )[^'\n]{{1,200}}(?<! ))'''")
_HEADING: Final = re.compile(rf"^(={{2,5}}) ?([^=\n]{{0,80}}[{_HAN}][^=\n]{{0,80}}?) ?\1$", re.MULTILINE)
_SWITCH: Final = re.compile(r"__(?:NO)?(?:TOC|EDITSECTION|INDEX|GALLERY)__")
_VARIANT: Final = re.compile(r"-\{([^{}\n]{1,300})\}-")
_VARIANT_CHOICE: Final = re.compile(r"(?:^|;)\s*zh(?:-[a-z]+)?\s*:\s*([^;]+)", re.IGNORECASE)


def remove_wiki_markup(text: str) -> str:
    """Return the text without links, well-known templates, bold marks and headings of MediaWiki.

    Only what holds Han or is named like MediaWiki's own, so ``[[1, 2], [3, 4]]``, ``[[ -f x ]]`` and
    ``{{ user.name }}`` stay. Of ``-{zh-hans:…; zh-hant:…}-`` the first choice is kept.
    """
    text = _TEMPLATE.sub("", _MEDIA.sub("", text))
    text = _BOLD.sub(r"\1", _LINK.sub(r"\1", text))
    return _VARIANT.sub(_variant, _SWITCH.sub("", _HEADING.sub(r"\2", text)))


def _variant(match: re.Match[str]) -> str:
    inner = match[1]
    if choice := _VARIANT_CHOICE.search(inner):
        return choice[1].strip()
    return inner if re.search(f"[{_HAN}]", inner) and ":" not in inner else match[0]
