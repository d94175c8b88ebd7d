"""How far running tasks are: each writes it down now and then, and the process that waits for them reads it."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from hanlm.log import progress

_WRITE_SECONDS = 1.0
_READ_SECONDS = 1.0


class Ticks:
    """Of one task: documents and bytes so far, written at most once a second."""

    def __init__(self, folder: Path, task: int) -> None:
        self._path = folder / f"{task:05}"
        self._num_documents = self._num_bytes = 0
        self._written_at = time.monotonic()

    def count(self, num_bytes: int) -> None:
        """Count one document."""
        self._num_documents += 1
        self._num_bytes += num_bytes
        if time.monotonic() - self._written_at >= _WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the counts down; a reader that meets a half-written one waits for the next."""
        self._written_at = time.monotonic()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(f"{self._num_documents} {self._num_bytes}")


@contextmanager
def followed(folder: Path, num_tasks: int, description: str) -> Generator[None]:
    """Show how many of a stage's tasks are completed, and what the running ones have read, until the block ends."""
    so_far = _SoFar(folder)
    with progress(num_tasks, f"{description}: tasks") as bar:
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(_READ_SECONDS):
                bar.advance(so_far.look() - bar.done, so_far.note)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            bar.advance(so_far.look() - bar.done, so_far.note)


class _SoFar:
    """What the marks and ticks of a stage say; each task's files are read until it is completed, and not again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._final: dict[str, tuple[int, int]] = {}
        self.note = ""

    def look(self) -> int:
        """Return how many tasks are completed, and note what was read."""
        completed = set(_names(self._folder / "completions"))
        for name in completed - self._final.keys():
            self._final[name] = self._read(name)
        running = [self._read(name) for name in _names(self._folder / "ticks") if name not in self._final]
        num_documents, num_bytes = (sum(column) for column in zip((0, 0), *self._final.values(), *running, strict=True))
        if num_documents:
            self.note = f"{num_documents:,} documents, {num_bytes / 1e6:,.0f} MB"
        return len(completed)

    def _read(self, name: str) -> tuple[int, int]:
        try:
            num_documents, num_bytes = (self._folder / "ticks" / name).read_text().split()
        except (OSError, ValueError):  # not yet there, or half-written
            return 0, 0
        return int(num_documents), int(num_bytes)


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []
