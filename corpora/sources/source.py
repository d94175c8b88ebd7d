"""One part of a mix."""

from dataclasses import dataclass
from pathlib import Path

from hanlm.records import TxtUnit


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One part of a mix."""

    path: Path
    """A file, a folder, or an artifact of text."""
    domain: str | None = None
    """Domain of its documents that name none; else the run's."""
    lang: str | None = None
    """Language of its documents that name none; else the run's."""
    txt_unit: TxtUnit | None = None
    """What is one document in its text files; else the run's."""
