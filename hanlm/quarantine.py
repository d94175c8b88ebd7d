"""The quarantine: what could not be read, with its source, line and reason, while its neighbours are kept."""

import json
import shutil
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, TextIO

from hanlm.errors import InputError
from hanlm.publish import Draft

MAX_QUARANTINED: Final = 0.05
"""Default share of unreadable records above which a run fails."""

QUARANTINE: Final = "quarantine.jsonl"
"""The list of what was set aside, beside an artifact's other files."""

_EXCERPT_BYTES = 120
_NUMBERS = ("num_seen", "num_lines", "num_bad_lines", "num_texts")


class Quarantine:
    """Collects unreadable records; use as a context manager so that its file is closed.

    Args:
        path: JSON lines of ``source, line, reason, excerpt``, written at the first bad record; None only
            counts.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        """Bad records by reason."""
        self.lacking = ""
        """The field that the first record without it should have, what it has, and where it stands."""
        self.undecodable: Path | None = None
        """The first file with a record that is not UTF-8."""
        self.num_seen = 0
        """Records offered, good and bad; whoever reads records adds to it."""
        self.num_lines = self.num_bad_lines = 0
        """Of these, what is a line of a longer text, not a record: a long book must not make up for bad records."""
        self.num_texts = 0
        """Texts that these lines make; each is a record."""
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Flush and close the file, if one was written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def num_quarantined(self) -> int:
        """Bad records so far."""
        return self.counts.total()

    def add(self, reason: str, source: Path | str, line_number: int, raw: bytes) -> None:
        """Set one record aside; ``raw`` may be long, only an escaped beginning of it is written."""
        self.counts[reason] += 1
        if reason == "invalid_utf8":
            self.undecodable = self.undecodable or Path(source)
        if self.path is None:
            return
        excerpt = raw[:_EXCERPT_BYTES].decode("utf-8", "backslashreplace")
        record = {"source": str(source), "line": line_number, "reason": reason, "excerpt": excerpt}
        self._open(self.path).write(json.dumps(record, ensure_ascii=False) + "\n")

    def _open(self, path: Path) -> TextIO:
        if self._file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
        return self._file

    def summary(self) -> dict[str, Any]:
        """Return the counts, for a process that gathers those of others."""
        return {name: getattr(self, name) for name in _NUMBERS} | {"counts": dict(self.counts), "lacking": self.lacking}

    def absorb(self, summary: Mapping[str, Any], listed: Path) -> None:
        """Add what another quarantine counted, and its list, if it wrote one."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + summary[name])
        self.counts.update(summary["counts"])
        self.lacking = self.lacking or summary["lacking"]
        if self.path is not None and listed.is_file():
            with listed.open(encoding="utf-8") as file:
                shutil.copyfileobj(file, self._open(self.path))

    def check(self, max_fraction: float = MAX_QUARANTINED) -> None:
        """Raise ``InputError`` if more than ``max_fraction`` of the records, or of the lines of texts, are bad."""
        num_bad, num_seen = self.num_quarantined - self.num_bad_lines, self.num_seen - self.num_lines + self.num_texts
        unit = "records"
        if num_bad <= max_fraction * num_seen:
            num_bad, num_seen, unit = self.num_bad_lines, self.num_lines, "lines"
        if num_bad <= max_fraction * num_seen:
            return
        if self._file is not None:
            self._file.flush()
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(self.counts.items()))
        where = f" (listed in {self.path})" if self.path else ""
        got = f"got {num_bad} of {num_seen}{where}: {reasons}"
        if self.lacking and self.counts["missing_field"] * 2 > self.num_quarantined:  # other files, not bad records
            raise InputError(
                f"{self.lacking}; at most {max_fraction:.1%} of the {unit} may be unreadable, {got}; rename the "
                "field, or pass other files."
            )
        if self.counts["invalid_utf8"] * 2 > self.num_quarantined and (name := self._other_encoding()):
            raise InputError(
                f"expected UTF-8, but {self.undecodable} looks like {name}; {got}; `hanlm corpus build` converts such "
                f"files while it reads them, or convert it with iconv."
            )
        raise InputError(
            f"expected at most {max_fraction:.1%} unreadable {unit}, {got}; mend the input or raise --max-quarantined."
        )

    def _other_encoding(self) -> str | None:
        """Return what the first file that is not UTF-8 looks like, where that is another encoding of Chinese."""
        from hanlm.encodings import CHINESE_ENCODINGS, detect_file

        if self.undecodable is None or not self.undecodable.is_file():
            return None
        return CHINESE_ENCODINGS.get(detect_file(self.undecodable))


@contextmanager
def kept_quarantine(draft: Draft) -> Generator[Quarantine]:
    """Give a quarantine whose list is published with the artifact; after a failure it stays in ``OUT.work``."""
    path = draft.work / QUARANTINE
    path.unlink(missing_ok=True)  # of an earlier try, whose input may have been mended since
    with Quarantine(path) as quarantine:
        yield quarantine
    if path.is_file():
        shutil.copyfile(path, draft.folder / QUARANTINE)
