"""What deduplication decided, done to the documents: copies go, repeated lines and passages are cut out."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import override

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from corpora.dedup.config import DedupConfig
from corpora.dedup.removals import Removals
from corpora.steps.cleaning import change
from corpora.steps.filtering import excerpt
from corpora.steps.labels import label
from corpora.steps.losses import Losses
from corpora.steps.samples import Samples

_EMPTY = "only_repeats"


class Deduplicate(PipelineStep):
    """Drops copies and cuts out repeats of the documents that ``ReadParts`` yields, by their numbers.

    Counts ``dropped_REASON``, ``lost/REASON/DOMAIN`` and ``bytes_lost``; ``changed``, by domain too; and the ``lines``,
    ``passages`` and ``chars`` that were cut. A document of which only repeats are left is dropped as ``only_repeats``.

    Args:
        folder: The dedup folder.
        config: The one that signatures were made with.
        stage: Folder of the stage; gets samples of what was dropped.
    """

    type = "dedup"
    name = "copies"

    def __init__(self, folder: Path, config: DedupConfig, stage: Path) -> None:
        super().__init__()
        self.folder, self.config, self.stage = folder, config, stage

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del world_size
        removals = Removals.load(self.folder, rank, self.config)
        samples = Samples(self.stage / "samples" / self.name, rank)
        losses = Losses()
        for piece in data:
            with self.track_time():
                number: int = piece.metadata["number"]
                reason, text = removals.reason(number), piece.text
                if reason is None:
                    text, cut = removals.apply(number, piece.text)
                    losses.update(cut)
                    reason = None if text else _EMPTY
            if reason is None:
                if text != piece.text:
                    losses.change(piece.text, text)
                    losses.update(("changed", label("changed", piece.metadata["domain"])))
                    samples.offer("changed", piece.id, change(piece, text))
                    piece.text = text
                yield piece
                continue
            losses[f"dropped_{reason}"] += 1
            losses.drop(piece, reason)
            samples.offer(reason, piece.id, excerpt(piece) | {"copy_of": removals.copy_of(number)})
        losses.add_to(self)
        samples.write()
