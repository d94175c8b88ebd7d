"""BBCode, the markup of forums."""

import re
from typing import Final

_NAMES: Final = (
    "b|i|u|s|color|backcolor|size|font|url|quote|code|list|align|center|left|right|table|tr|td|email|hide|free|sup|sub"
    "|indent|p|flash|media|audio|attach|img|float"
)
_EMBEDDED: Final = re.compile(
    r"\[(img|attach|attachimg|media|flash|audio)(?:=[^\[\]\n]{0,300})?\][^\[\]\n]{0,500}\[/\1\]", re.IGNORECASE
)
_TAG: Final = re.compile(rf"\[(/?)({_NAMES})(?:=[^\[\]\n]{{1,300}})?\]", re.IGNORECASE)


def remove_bbcode(text: str) -> str:
    """Return the text without the tags that are both opened and closed in it; pictures and attachments go whole.

    ``a[i]`` in a text that closes no ``[/i]`` stays.
    """
    text = _EMBEDDED.sub("", text)
    opened, closed = set[str](), set[str]()
    for match in _TAG.finditer(text):
        (closed if match[1] else opened).add(match[2].lower())
    pairs = opened & closed
    return _TAG.sub(lambda match: "" if match[2].lower() in pairs else match[0], text) if pairs else text
