"""How far running tasks are: each writes it down now and then, and the process that waits for them reads it."""

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
    with progress(num_tasks, f"{description}: tasks") as bar:
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(_READ_SECONDS):
                num_documents, num_bytes = _total(folder / "ticks")
                note = f"{num_documents:,} documents, {num_bytes / 1e6:,.0f} MB" if num_documents else ""
                bar.advance(_num_completed(folder) - bar.done, note)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            bar.advance(_num_completed(folder) - bar.done)


def _num_completed(folder: Path) -> int:
    marks = folder / "completions"
    return sum(1 for _ in marks.iterdir()) if marks.is_dir() else 0


def _total(folder: Path) -> tuple[int, int]:
    num_documents = num_bytes = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        match path.read_text().split():
            case [documents, size]:
                num_documents += int(documents)
                num_bytes += int(size)
            case _:
                continue
    return num_documents, num_bytes
