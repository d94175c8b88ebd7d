"""What a check found: a line each, and how bad it is."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from hanlm.errors import HanLMError, InputError, Interrupted
from hanlm.log import is_main_process

type Level = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Level
    topic: str
    text: str


@dataclass(slots=True)
class Report:
    """Prints every finding as it comes, on the main process."""

    findings: list[Finding] = field(default_factory=list[Finding])

    def add(self, level: Level, topic: str, text: str) -> None:
        """Note one finding; a warning or a fault says what to do about it."""
        self.findings.append(Finding(level, topic, text))
        if is_main_process():
            print(f"{level:8}{topic}: {text}", flush=True)

    def ok(self, topic: str, text: str) -> None:
        """Note that something is as it should be."""
        self.add("ok", topic, text)

    @contextmanager
    def guard(self, topic: str) -> Generator[None]:
        """Turn what a block refuses into a fault, and go on after it."""
        try:
            yield
        except Interrupted:
            raise
        except HanLMError as error:
            self.add("fault", topic, " ".join(str(error).split()))

    def attempt[T](self, topic: str, check: Callable[[], T]) -> T | None:
        """Return what a check returns, or None where it refused, which is then a fault."""
        with self.guard(topic):
            return check()
        return None

    def count(self, level: Level) -> int:
        """Return how many findings are that bad."""
        return sum(finding.level == level for finding in self.findings)

    def close(self) -> None:
        """Print the sum.

        Raises:
            InputError: If there was a fault.
        """
        faults, warnings = self.count("fault"), self.count("warning")
        if faults:
            raise InputError(
                f"doctor found {faults} fault{'s' * (faults > 1)} and {warnings} warning{'s' * (warnings != 1)} in "
                f"{len(self.findings)} checks; mend the faults and run it again."
            )
        if is_main_process():
            print(f"no faults, {warnings} warning{'s' * (warnings != 1)} in {len(self.findings)} checks")
