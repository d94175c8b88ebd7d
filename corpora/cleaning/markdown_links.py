"""Links and images of Markdown, reduced to the text they show."""

import re
from typing import Final

_LINK: Final = re.compile(
    r"(?P<image>!?)\[(?P<text>[^\[\]\n]{0,500})\]"
    r"\([ ]*(?P<target><[^<>\n]{0,1000}>|[^\s()<>]{0,1000}(?:\([^\s()<>]{0,200}\)[^\s()<>]{0,500})?)"
    r"(?:[ ]+(?:\"[^\"\n]{0,300}\"|'[^'\n]{0,300}'))?[ ]*\)"
)
_DEFINITION: Final = re.compile(
    r"^ {0,3}\[(?!\^)([^\[\]\n]{1,100})\]: ?<?(?:https?://|/|\.\.?/)\S*[^\n]*(?:\n|\Z)", re.MULTILINE
)
_REFERENCE: Final = re.compile(r"(!?)\[([^\[\]\n]{1,500})\] ?\[([^\[\]\n]{0,100})\]")
_AUTOLINK: Final = re.compile(r"<(https?://[^\s<>]{1,1000})>")
_ABSOLUTE: Final = re.compile(r"<?(?:[a-z][a-z0-9+.-]*://|mailto:|tel:|#|\.{0,2}/)", re.IGNORECASE)
_FILE: Final = re.compile(r"<?[^\s<>]*(?:/|\.[A-Za-z][A-Za-z0-9]{1,4}(?:#\S*)?>?$)")
_EMPTY_ALT: Final = re.compile(
    r"(?:image|img|photo|picture|图片|alt(?: text)?|.*\.(?:png|jpe?g|gif|webp|svg|bmp))\d*", re.I
)


def reduce_links(text: str) -> str:
    """Return the text with ``[text](address)`` and ``![text](address)`` reduced to the text.

    What stands in the round brackets must look like an address, so ``f[i](x)`` and 见[附录](下文) stay. Definitions
    such as ``[1]: https://…`` go, and with them the second half of ``[text][1]``; ``<https://…>`` loses its brackets.
    An image's text goes too where it is a file name or says "image" alone.
    """
    text = _AUTOLINK.sub(r"\1", _LINK.sub(_shown, text))
    defined = {name.lower() for name in _DEFINITION.findall(text)}
    if not defined:
        return text

    def resolve(match: re.Match[str]) -> str:
        known = (match[3] or match[2]).lower() in defined
        return _image_text(match[2]) if known and match[1] else match[2] if known else match[0]

    return _REFERENCE.sub(resolve, _DEFINITION.sub("", text))


def _shown(match: re.Match[str]) -> str:
    target = match["target"]
    before = match.string[match.start() - 1] if match.start() else " "
    if not _ABSOLUTE.match(target):
        is_call = before in ")]_" or (before.isascii() and before.isalnum())
        if is_call or not (match["image"] or _FILE.match(target)):
            return match[0]
    return _image_text(match["text"]) if match["image"] else match["text"]


def _image_text(text: str) -> str:
    return "" if _EMPTY_ALT.fullmatch(text.strip()) else text
