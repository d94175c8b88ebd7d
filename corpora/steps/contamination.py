"""Decontamination as a step: what goes is listed, with the evaluation text that it holds."""

from itertools import islice
from pathlib import Path
from typing import Any, Self, override

import orjson
from datatrove.data import Document as Piece

from corpora.evaluation.decontaminate import Decontaminate
from corpora.facts import Reason
from corpora.steps.filtering import DroppedSamples, DroppingFilter

CONTAMINATED = "contaminated.jsonl"
"""The list, beside a corpus's shards."""

_REASON = "contaminated"
_SHOWN = 20
_ENTRY = "contamination"


class DropContaminated(DroppingFilter):
    """Drops documents that hold an evaluation text, and writes ``contaminated/TASK.jsonl``.

    Args:
        rule: Knows the evaluation texts.
        folder: Of the stage.
    """

    name = "decontaminate"

    def __init__(self, rule: Decontaminate, folder: Path) -> None:
        super().__init__(_Listed(folder))
        self.rule = rule

    @override
    def filter(self, doc: Piece) -> bool | tuple[bool, str]:
        """Return whether to keep a document; one that goes carries the entry of the list."""
        match = self.rule.match(doc.text)
        if match is None:
            return True
        doc.metadata[_ENTRY] = match.entry(doc.id)
        return False, Reason(_REASON, self.rule.evidence(match))


class _Listed(DroppedSamples):
    """Lists every document besides keeping samples."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "samples" / DropContaminated.name)
        self._lists = folder / _REASON
        self._file: Any = None

    @override
    def __enter__(self) -> Self:
        self._file = None
        return super().__enter__()

    @override
    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._file is not None:
            self._file.close()
            self._file = None

    @override
    def write(self, document: Piece, rank: int = 0) -> None:
        """Take a dropped document."""
        super().write(document, rank)
        if self._file is None:
            self._lists.mkdir(parents=True, exist_ok=True)
            self._file = (self._lists / f"{rank:05}.jsonl").open("wb")
        self._file.write(orjson.dumps(document.metadata[_ENTRY]) + b"\n")


def gather_contaminated(folder: Path, out: Path) -> None:
    """Join the lists of all tasks of the stage in ``folder`` into one file, if any document was dropped."""
    lists = sorted((folder / _REASON).glob("*.jsonl"))
    if lists:
        with out.open("wb") as file:
            file.writelines(path.read_bytes() for path in lists)


def first_contaminated(path: Path) -> list[dict[str, Any]]:
    """Return the first entries of the list; none where there is no list."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        return [orjson.loads(line) for line in islice(file, _SHOWN)]
