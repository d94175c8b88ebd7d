"""The stages that find copies: they look at signatures alone, a range of hashes at a time."""

from collections.abc import Iterator
from pathlib import Path

from corpora.dedup.cluster import Cluster
from corpora.dedup.config import DedupConfig
from corpora.dedup.copies import FindExactCopies, FindNearCopies
from corpora.dedup.cuts import CollectCuts
from corpora.dedup.index import WriteIndex, num_index_tasks
from corpora.dedup.repeats import FindRepeats
from corpora.dedup.steps import num_finding_tasks
from corpora.engine.stage import Stage


def dedup_stages(
    folder: Path, config: DedupConfig, *, num_tasks: int, num_bytes: int, known: tuple[Path, ...], index: Path | None
) -> Iterator[Stage]:
    """Yield the stages in the order in which they have to run.

    Args:
        folder: The dedup folder, with the signatures of all tasks.
        config: Says which kinds of copies go.
        num_tasks: Tasks that wrote signatures.
        num_bytes: Size of the text that was signed; decides how many tasks each stage is cut into.
        known: Index folders of earlier runs.
        index: Gets what this run keeps, for later ones; None where nobody asks for it.
    """
    pieces = num_finding_tasks(num_bytes)
    if config.exact:
        yield Stage(name="exact", pipeline=[FindExactCopies(folder, num_tasks, known)], num_tasks=pieces)
    if config.near:
        find = FindNearCopies(folder, num_tasks, config, known)
        yield Stage(name="near", pipeline=[find], num_tasks=pieces * config.bands)
    yield Stage(name="cluster", pipeline=[Cluster(folder, num_tasks)], num_tasks=1)
    if config.lines:
        yield Stage(name="lines", pipeline=[FindRepeats(folder, num_tasks, "lines", config)], num_tasks=pieces)
    if config.substrings:
        find = FindRepeats(folder, num_tasks, "substrings", config)
        yield Stage(name="passages", pipeline=[find], num_tasks=pieces)
    if config.lines or config.substrings:
        yield Stage(name="cuts", pipeline=[CollectCuts(folder, num_tasks, config)], num_tasks=min(pieces, num_tasks))
    if index is not None:
        write = WriteIndex(folder, num_tasks, config, index)
        yield Stage(name="index", pipeline=[write], num_tasks=num_index_tasks(config) * pieces)
