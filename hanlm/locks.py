"""Locks that keep two processes from writing one place."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hanlm.errors import ArtifactError

LOCK = ".lock"
"""The file that is locked: in OUT.work while a process writes OUT, in a run's folder while a run goes on."""


@contextmanager
def exclusive(path: Path, what: str) -> Generator[IO[str]]:
    """Hold the lock file ``path``; the kernel lets it go when the last process that has it open ends.

    Args:
        path: Created where missing; its holder may delete it.
        what: What is locked, for the sentence.

    Raises:
        ArtifactError: If another process holds it.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a+")
        except FileNotFoundError:  # its holder finished, and took the folder away, between the two lines above
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise ArtifactError(
                f"{what} is being written by another hanlm process{_holder(path)}; wait for it or stop it."
            ) from None
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            break
        file.close()  # the holder deleted the file we waited on: lock the new one
    with file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file


def refuse_held(path: Path, what: str) -> None:
    """Raise ``ArtifactError`` if another process holds the lock file ``path``, unless it is the one that started us."""
    if path.exists() and path.read_text().strip() != str(os.getppid()):
        with exclusive(path, what):
            pass


def _holder(path: Path) -> str:
    try:
        return f" ({int(path.read_text())})"
    except (OSError, ValueError):
        return ""
