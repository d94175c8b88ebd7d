"""The first step: a task's slices of the input become documents; what cannot be read goes to the quarantine."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, override

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from corpora.engine.stopping import refuse_if_stopped
from corpora.engine.ticks import Ticks
from corpora.sources.slices import Slice, read_slice
from corpora.sources.source import Source
from corpora.steps.labels import label
from corpora.steps.losses import num_bytes
from corpora.steps.tally import Tally
from hanlm.errors import InputError
from hanlm.files import replace_text
from hanlm.quarantine import Quarantine
from hanlm.records import Document

MOST_LABELS: Final = 1_000
"""Distinct domains, languages or licences in a task."""


class ReadSlices(PipelineStep):
    """Yields the documents of the task's slices, in order.

    Writes ``quarantine/TASK.jsonl`` and, when all is read, ``quarantine/TASK.counts.json``.

    Args:
        sources: The sources that the slices name by number.
        tasks: The slices of every task.
        folder: Of the stage.
    """

    type = "read"
    name = "sources"

    def __init__(self, sources: Sequence[Source], tasks: Sequence[Sequence[Slice]], folder: Path) -> None:
        super().__init__()
        self.sources, self.tasks, self.folder = sources, tasks, folder

    @override
    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del data, world_size
        path = self.folder / "quarantine" / f"{rank:05}.jsonl"
        path.unlink(missing_ok=True)  # of a try that was killed
        ticks = Ticks(self.folder / "ticks", rank)
        counts, labels = Tally(), FewLabels()
        with Quarantine(path) as quarantine:
            for document in self._documents(rank, quarantine):
                refuse_if_stopped()
                labels.add(document)
                size = num_bytes(document.text)
                counts[label("documents", document.domain)] += 1
                counts[label("bytes", document.domain)] += size
                ticks.count(size)
                yield as_piece(document)
        ticks.write()
        counts.add_to(self)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path.with_suffix(".counts.json"), json.dumps(quarantine.summary(), ensure_ascii=False))

    def _documents(self, rank: int, quarantine: Quarantine) -> Iterator[Document]:
        found = (d for each in self.tasks[rank] for d in read_slice(each, self.sources[each.source], quarantine))
        while True:
            with self.track_time():
                document = next(found, None)
            if document is None:
                return
            yield document


class FewLabels:
    """What the documents of a task are labelled with; counted by it are the report, and the files of tokens."""

    def __init__(self) -> None:
        self._seen = {name: set[str]() for name in ("domain", "lang", "license")}

    def add(self, document: Document) -> None:
        """Take a document's labels.

        Raises:
            InputError: If one has so many values that it is no label: a title, a URL, a number.
        """
        for name, seen in self._seen.items():
            seen.add(value := getattr(document, name))
            if len(seen) > MOST_LABELS:
                raise InputError(
                    f"expected {name} to be a label that many documents share, got more than {MOST_LABELS:,} of them, "
                    f"such as {value[:80]!r} of the document {document.id}; name another column for it in "
                    f"the source's `fields`, or `{name}: null` there for none."
                )


def as_piece(document: Document) -> Piece:
    """Return a document in datatrove's form; everything but text and id is metadata."""
    labels = {name: getattr(document, name) for name in ("domain", "lang", "source", "license", "group")}
    return Piece(text=document.text, id=document.id, metadata=labels)


def as_document(piece: Piece) -> Document:
    """Return a document of datatrove's in our form; metadata that steps added stays behind."""
    kept = piece.metadata
    return Document(
        id=piece.id,
        text=piece.text,
        domain=kept["domain"],
        lang=kept["lang"],
        source=kept["source"],
        license=kept["license"],
        group=kept["group"],
    )


def gather_quarantine(folder: Path, num_tasks: int, quarantine: Quarantine) -> None:
    """Add to ``quarantine`` what all tasks of the stage in ``folder`` set aside, in their order."""
    for task in range(num_tasks):
        listed = folder / "quarantine" / f"{task:05}.jsonl"
        quarantine.absorb(json.loads(listed.with_suffix(".counts.json").read_text(encoding="utf-8")), listed)
