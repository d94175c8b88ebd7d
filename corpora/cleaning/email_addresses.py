"""E-mail addresses."""

import re
from collections.abc import Iterator
from typing import Final

_ADDRESS: Final = re.compile(
    r"(?<![A-Za-z0-9._%+/@-])[A-Za-z0-9_%+][A-Za-z0-9._%+-]{0,63}[@＠]"
    r"(?:[A-Za-z0-9-]{1,63}\.){1,5}([A-Za-z]{2,18})(?![A-Za-z0-9@-])(?!:[A-Za-z0-9~/])"
)
_NOT_TOP_LEVEL_LISTED: Final = """
png jpg jpeg gif svg webp bmp ico css js ts html htm php py java json xml yaml yml md txt zip gz local
localhost invalid test example internal lan localdomain
"""
_NOT_TOP_LEVEL: Final = frozenset(_NOT_TOP_LEVEL_LISTED.split())
_SHELL_BEFORE: Final = re.compile(r"\b(?:ssh|scp|sftp|rsync|ssh-copy-id|mosh)\s[^\n。，]*$")
_RESERVED: Final = re.compile(r"@(?:[\w-]+\.)*example\.(?:com|net|org|edu|cn)$", re.IGNORECASE)
_NOT_A_PERSON: Final = frozenset(("git", "hg", "svn"))


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    """Yield where e-mail addresses stand.

    No address is what names no mailbox: ``git@host``, what stands after ``ssh``, ``host:path`` of a shell,
    picture@2x.png, and the domains that RFC 2606 reserves for examples.
    """
    for match in _ADDRESS.finditer(text):
        if _SHELL_BEFORE.search(text, max(0, match.start() - 60), match.start()):
            continue
        if match[1].lower() in _NOT_TOP_LEVEL or match[0].partition("@")[0] in _NOT_A_PERSON:
            continue
        if not _RESERVED.search(match[0]):
            yield match.span()
