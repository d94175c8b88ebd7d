"""What a user sees while waiting, and what stays: progress, plain lines, metrics."""

import json
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any

from hanlm.files import replace_text
from hanlm.trackers import check_reporters, open_trackers

__all__ = ["Metrics", "Progress", "check_reporters", "drop_metrics_after", "is_main_process", "progress", "say"]

_PLAIN_INTERVAL_SECONDS = 10.0


def say(line: str) -> None:
    """Print one line to the user (standard error, so that standard output stays for results).

    Of the processes of a torchrun only the first one speaks. Nobody may be there to read: a training whose terminal is
    gone still has to save.
    """
    if is_main_process():
        with suppress(BrokenPipeError):
            print(line, file=sys.stderr, flush=True)


def is_main_process() -> bool:
    """Say whether this is the first process of a torchrun, or the only one there is."""
    return os.environ.get("RANK", "0") == "0"


class Progress:
    """Counts done units; ``advance`` may carry a note such as the current loss."""

    def __init__(self, total: float | None, description: str, done: float = 0.0) -> None:
        self.total, self.description = total, description
        self.done, self.note = done, ""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count ``amount`` more units as done."""
        self.done += amount
        self.note = note or self.note


class _PlainProgress(Progress):
    def __init__(self, total: float | None, description: str, done: float = 0.0) -> None:
        super().__init__(total, description, done)
        self.done_before = done
        self.started = self.last = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        super().advance(amount, note)
        now = time.monotonic()
        if now - self.last >= _PLAIN_INTERVAL_SECONDS:
            self.last = now
            say(self._line(now - self.started))

    def _line(self, seconds: float) -> str:
        if not self.total:
            return f"{self.description} {self.done:g} after {_clock(seconds)} {self.note}".rstrip()
        speed = (self.done - self.done_before) / seconds
        left = f", {_clock((self.total - self.done) / speed)} left" if speed > 0 else ""
        return f"{self.description} {self.done / self.total:4.0%} after {_clock(seconds)}{left} {self.note}".rstrip()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def progress(total: float | None, description: str, *, done: float = 0.0) -> Generator[Progress]:
    """Show a bar on a terminal and a plain line every few seconds elsewhere, with the time that is left.

    Args:
        total: Units in all, where that is known.
        description: What is being done, and in which units.
        done: Units that an earlier run did; they do not count for the speed.
    """
    if not is_main_process():
        yield Progress(total, description, done)
        return
    if not sys.stderr.isatty():
        yield _PlainProgress(total, description, done)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    ]
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")  # pyright: ignore[reportArgumentType]

        class _Bar(Progress):
            def advance(self, amount: float = 1, note: str = "") -> None:
                super().advance(amount, note)
                bar.update(task, advance=amount, note=self.note)

        yield _Bar(total, description, done)


class Metrics:
    """Training metrics: always JSON lines, and other trackers by name.

    Args:
        folder: Holds ``metrics.jsonl`` (appended, so a resumed run continues it) and the trackers' files.
        report_to: Names out of ``hanlm.trackers.REPORTERS``.
        resumed_after: The last step of an earlier run that counts; what it wrote after that is dropped.
        config: What trackers show beside the curves.

    Raises:
        ConfigError: If a tracker is unknown, not installed, or does not start.
    """

    def __init__(
        self,
        folder: Path,
        report_to: Sequence[str] = (),
        *,
        resumed_after: int | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        check_reporters(report_to)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        if resumed_after is not None:
            drop_metrics_after(self.path, resumed_after)
        self._file = self.path.open("a", encoding="utf-8")
        self._trackers = open_trackers(folder, report_to, resumed_after=resumed_after, config=config or {})

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Record the values of one step; JSON has no NaN, so one becomes null. Trackers get the other numbers."""
        plain = {name: None if isinstance(v, float) and not isfinite(v) else v for name, v in values.items()}
        self._file.write(json.dumps({"step": step, **plain}, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        numbers = {n: v for n, v in plain.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        for name, tracker in list(self._trackers.items()) if numbers else ():
            self._guarded(name, lambda tracker=tracker: tracker.write(step, numbers))

    def close(self) -> None:
        """Flush and close every tracker."""
        self._file.close()
        for name, tracker in list(self._trackers.items()):
            self._guarded(name, tracker.close)

    def _guarded(self, name: str, action: Callable[[], None]) -> None:
        """Let a tracker act; a run of weeks must not end because a server of curves is out of reach."""
        try:
            action()
        except Exception as error:
            del self._trackers[name]
            say(f"{name} has failed and gets no more of this run ({error}); metrics.jsonl has everything")


def drop_metrics_after(path: Path, step: int) -> None:
    """Cut ``metrics.jsonl`` back to ``step``, so that a resumed run never lists a step twice."""
    if path.is_file():
        kept: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue  # the last line of a killed run may be cut in the middle
        replace_text(path, "".join(line + "\n" for line in kept))
