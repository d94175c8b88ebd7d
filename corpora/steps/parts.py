"""Parts: what a task of the first stage kept, in order, for the stage that writes the corpus."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, override

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from corpora.steps.reading import as_document, as_piece
from corpora.steps.shards import ShardWriter
from corpora.steps.tally import Tally
from hanlm.json_lines import read_json_lines
from hanlm.quarantine import Quarantine
from hanlm.records import Document

DOCUMENTS = "documents"
"""Count of documents written, and of documents read back: they must be equal."""

_FIELDS = ("id", "text", "domain", "lang", "source", "license", "group")


class WriteParts(PipelineStep):
    """Writes the documents to ``FOLDER/TASK-….jsonl.zst`` and passes them on; counts ``documents``."""

    type = "write"
    name = "parts"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del world_size
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{rank:05}-*"):
            left.unlink()  # of a try that was killed
        counts = Tally()
        with ShardWriter(self.folder, f"{rank:05}") as writer:
            for piece in data:
                with self.track_time():
                    writer.write(as_document(piece))
                counts[DOCUMENTS] += 1
                yield piece
        counts.add_to(self)


class ReadParts(PipelineStep):
    """Yields the documents that ``WriteParts`` of the same task wrote, with their ``number``; counts ``documents``."""

    type = "read"
    name = "parts"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @override
    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del data, world_size
        quarantine = Quarantine()
        files = sorted(self.folder.glob(f"{rank:05}-*"))
        records = (record for file in files for record in read_json_lines(file, quarantine, _FIELDS))
        counts = Tally()
        for record in records:
            piece = as_piece(Document(**record))
            piece.metadata["number"] = counts[DOCUMENTS]
            counts[DOCUMENTS] += 1
            yield piece
        counts.add_to(self)
        quarantine.check(max_fraction=0.0)  # HanLM wrote these lines itself: not one may be bad
