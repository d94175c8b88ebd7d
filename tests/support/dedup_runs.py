"""Deduplication of texts in memory, step by step or by datatrove's executor."""

import random
from collections.abc import Sequence
from pathlib import Path

from corpora.dedup.config import DedupConfig
from corpora.dedup.removals import Removals
from corpora.dedup.signatures import SignatureWriter
from corpora.dedup.stages import dedup_stages
from corpora.facts import Facts

type Tasks = Sequence[Sequence[str]]


def sign(tasks: Tasks, config: DedupConfig, folder: Path) -> None:
    for number, texts in enumerate(tasks):
        writer = SignatureWriter(folder, number, config)
        for text in texts:
            writer.add(Facts(text))
        writer.close()


def dedup(
    tasks: Tasks,
    config: DedupConfig,
    folder: Path,
    *,
    runs: Sequence[Path] = (),
    index_out: Path | None = None,
    num_text_bytes: int = 0,
) -> list[Removals]:
    """Sign, find, cluster; return each task's removals."""
    sign(tasks, config, folder)
    for stage in dedup_stages(folder, len(tasks), config, num_text_bytes, runs=runs, index_out=index_out):
        for part in range(stage.num_tasks):
            stage.pipeline[0].run(None, part, stage.num_tasks)
    return [Removals.load(folder, number, config) for number in range(len(tasks))]


def kept(tasks: Tasks, removals: Sequence[Removals]) -> list[str]:
    """Return the texts that stay, in order, with their cuts made."""
    return [
        found.apply(index, text)[0]
        for texts, found in zip(tasks, removals, strict=True)
        for index, text in enumerate(texts)
        if found.reason(index) is None
    ]


def split(texts: Sequence[str], sizes: Sequence[int]) -> list[Sequence[str]]:
    """Cut a list into tasks of these sizes; the last takes the rest."""
    tasks, at = [], 0
    for size in sizes:
        tasks.append(texts[at : at + size])
        at += size
    return [*tasks, texts[at:]]


def chinese(draw: random.Random, num_chars: int) -> str:
    """Return random Han characters in sentences."""
    text: list[str] = []
    while len(text) < num_chars:
        text += [chr(draw.randrange(0x4E00, 0x9000)) for _ in range(draw.randrange(5, 25))] + ["。"]
    return "".join(text[:num_chars])


def edited(draw: random.Random, text: str, share: float) -> str:
    """Return the text with a share of its characters replaced, at random places."""
    return "".join(chr(draw.randrange(0x4E00, 0x9000)) if draw.random() < share else char for char in text)
