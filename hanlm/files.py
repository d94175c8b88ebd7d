"""Small files that are seen whole or not at all, and what a file is known by."""

import hashlib
import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Force a file, or a folder's list of names, onto the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that it is seen either old or new, never cut."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    fsync(new)
    new.replace(path)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
