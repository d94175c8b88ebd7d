"""The steps of deduplication in their order, each with the number of tasks it is cut into."""

from collections.abc import Sequence
from pathlib import Path

from corpora.dedup.cluster import Cluster
from corpora.dedup.config import DedupConfig
from corpora.dedup.copies import FindExactCopies, FindNearCopies
from corpora.dedup.cuts import CollectCuts
from corpora.dedup.index import WriteIndex, num_index_tasks
from corpora.dedup.repeats import FindRepeats
from corpora.dedup.steps import DedupStep
from corpora.engine.stage import Stage

_BUCKET_BYTES = 256_000_000
"""Records that one task is to hold; sorting them takes about three times as much memory."""

# Winnowing writes the most: 20 bytes for every 25 characters, which in ASCII are 25 bytes.
_PLACES_PER_TEXT_BYTE = 0.8
# Of a band 68 bytes a document, and few corpora have documents of less than 500 bytes on average.
_BAND_PER_TEXT_BYTE = 0.14


def dedup_stages(
    folder: Path,
    num_tasks: int,
    config: DedupConfig,
    num_text_bytes: int,
    *,
    runs: Sequence[Path] = (),
    index_out: Path | None = None,
) -> list[Stage]:
    """Return what is to be run between the signatures and ``Removals.load``.

    Args:
        folder: The dedup folder, with the signatures of all tasks.
        num_tasks: Tasks that write signatures.
        config: What is wanted.
        num_text_bytes: About how much text there is, before compression: bounds the memory of a task.
        runs: What ``known_runs`` returned.
        index_out: Where this run's part of the index is written; to be sealed and published by the caller.
    """
    num_finding = 1 + int(num_text_bytes * _PLACES_PER_TEXT_BYTE // _BUCKET_BYTES)
    num_ranges = 1 + int(num_text_bytes * _BAND_PER_TEXT_BYTE // _BUCKET_BYTES)
    stages: list[Stage] = []

    def then(name: str, step: DedupStep, count: int) -> None:
        stages.append(Stage(name=name, pipeline=[step], num_tasks=count))

    if config.exact:
        then("dedup-exact", FindExactCopies(folder, num_tasks, runs), num_finding)
    if config.near:
        then("dedup-near", FindNearCopies(folder, num_tasks, config, runs), config.bands * num_ranges)
    then("dedup-cluster", Cluster(folder, num_tasks), 1)
    if config.lines:
        then("dedup-lines", FindRepeats(folder, num_tasks, "lines", config), num_finding)
    if config.substrings:
        then("dedup-substrings", FindRepeats(folder, num_tasks, "substrings", config), num_finding)
    if config.lines or config.substrings:
        then("dedup-cuts", CollectCuts(folder, num_tasks, config), num_tasks)
    if index_out is not None:
        then("dedup-index", WriteIndex(folder, num_tasks, config, index_out), num_index_tasks(config) * num_ranges)
    return stages
