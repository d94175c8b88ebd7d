"""The last step: kept documents become the shards of their split, and what they are is counted."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import override

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from corpora.steps.labels import label
from corpora.steps.losses import num_bytes
from corpora.steps.reading import as_document
from corpora.steps.shards import ShardWriter
from corpora.steps.tally import Tally

SPLITS = ("train", "valid")


class WriteShards(PipelineStep):
    """Writes ``FOLDER/TASK/SPLIT-….jsonl.zst``; a split without documents gets no file.

    Counts by domain: ``kept``, ``valid``, ``bytes``, ``chars``; by licence: ``license``.
    """

    type = "write"
    name = "shards"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del world_size
        folder = self.folder / f"{rank:05}"
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()  # of a try that was killed
        counts = Tally()
        with ExitStack() as stack:
            writers = {split: stack.enter_context(ShardWriter(folder, split)) for split in SPLITS}
            for piece in data:
                with self.track_time():
                    writers[piece.metadata["split"]].write(as_document(piece))
                _count(piece, counts)
                yield piece
        counts.add_to(self)


def _count(piece: Piece, counts: Tally) -> None:
    domain: str = piece.metadata["domain"]
    counts[label("kept", domain)] += 1
    counts[label("license", piece.metadata["license"])] += 1
    counts[label("valid", domain)] += piece.metadata["split"] == "valid"
    counts[label("bytes", domain)] += num_bytes(piece.text)
    counts[label("chars", domain)] += len(piece.text)


def gather_shards(folder: Path, out: Path) -> None:
    """Give ``out`` the shards of all tasks, numbered through in the order of the tasks.

    They stay in ``folder`` as well: where the build ends before ``out`` is published, its next try finds them there.
    """
    for split in SPLITS:
        shards = [path for task in sorted(folder.iterdir()) for path in sorted(task.glob(f"{split}-*"))]
        for number, path in enumerate(shards):
            _link(path, out / f"{split}-{number:05}.jsonl.zst")


def _link(path: Path, new: Path) -> None:
    try:
        new.hardlink_to(path)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, new)
