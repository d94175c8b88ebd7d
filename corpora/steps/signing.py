"""Signatures of the documents that the filters kept, for finding copies without reading the text again."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import override

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from corpora.dedup.config import DedupConfig
from corpora.dedup.signatures import SignatureWriter
from corpora.steps.filtering import facts_of


class Sign(PipelineStep):
    """Writes the task's signatures into the dedup folder and passes the documents on."""

    type = "dedup"
    name = "signatures"

    def __init__(self, folder: Path, config: DedupConfig) -> None:
        super().__init__()
        self.folder, self.config = folder, config

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del world_size
        writer = SignatureWriter(self.folder, rank, self.config)
        for piece in data:
            with self.track_time():
                writer.add(facts_of(piece))
            yield piece
        with self.track_time():
            writer.close()
