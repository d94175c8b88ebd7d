"""Splits: documents of one group are held out together, everything else by its content."""

from collections.abc import Iterable, Iterator
from typing import override

from datatrove.data import Document as Piece
from datatrove.pipeline.base import PipelineStep

from hanlm.text import content_digest, digest_in_valid_split


def is_held_out(text: str, group: str, fraction: float) -> bool:
    """Say whether a document belongs to the held-out split.

    A group (a book, a page, neighbouring lines of a file) is held out whole: a sentence whose neighbours are trained
    on is no test. A document of no group is judged by its normalised text alone, so that it falls into the same split
    in every run, mix and machine.
    """
    return digest_in_valid_split(content_digest(f"group {group}" if group else text), fraction)


class Split(PipelineStep):
    """Writes ``train`` or ``valid`` into the metadata as ``split``."""

    type = "split"
    name = "split"

    def __init__(self, valid_fraction: float) -> None:
        super().__init__()
        self.valid_fraction = valid_fraction

    @override
    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        del rank, world_size
        for piece in data:
            with self.track_time():
                held_out = is_held_out(piece.text, piece.metadata["group"], self.valid_fraction)
            piece.metadata["split"] = "valid" if held_out else "train"
            yield piece
