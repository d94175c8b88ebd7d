"""Emoji."""

import re
from typing import Final

_PICTURE: Final = (
    "[\U0001f000-\U0001f2ff\U0001f300-\U0001f64f\U0001f680-\U0001faff\u2600-\u2604\u2614\u2615\u26a1\u26bd\u26c4\u2705"
    "\u270a-\u270d\u2728\u274c\u274e\u2753-\u2755\u2757\u2764\u2795-\u2797\u2b50\u2b55]"
)
_EMOJI: Final = re.compile(
    f"[\U0001f1e6-\U0001f1ff]{{2}}"  # a flag
    f"|[0-9#*]\ufe0f?\u20e3"  # a key
    f"|(?:{_PICTURE}|[\u2190-\u2bff\u3030\u303d\u3297\u3299]\ufe0f)[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*"
    f"(?:\u200d(?:{_PICTURE}|[\u2190-\u2bff]\ufe0f?)[\ufe0f\U0001f3fb-\U0001f3ff]*)*[\U000e0020-\U000e007f]*"
)


def remove_emoji(text: str) -> str:
    """Return the text without emoji: pictures with their skin tones and joiners, flags, keys.

    Signs that text is written with stay: ©, ®, ™, ★, ☆, →, √, ① and the like, unless they ask to be shown as emoji.
    """
    return _EMOJI.sub("", text)
