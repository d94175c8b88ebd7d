"""The stages of ``hanlm corpus build``: every one a run of datatrove's over tasks that a kill does not undo."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from corpora.build import BuildConfig, index_name
from corpora.dedup.config import DedupConfig
from corpora.dedup.index import publish_index, seal_index
from corpora.dedup.stages import dedup_stages
from corpora.engine.config import EngineConfig, for_little
from corpora.engine.counts import StepCounts
from corpora.engine.run import run_stage
from corpora.engine.stage import Stage
from corpora.funnel import Funnel
from corpora.read_stage import cleaning_steps, filtering_steps
from corpora.sources.slices import Slice
from corpora.sources.source import Source
from corpora.steps.contamination import CONTAMINATED, gather_contaminated
from corpora.steps.deduplicating import Deduplicate
from corpora.steps.labels import by_value
from corpora.steps.parts import ReadParts, WriteParts
from corpora.steps.publishing import WriteShards, move_shards
from corpora.steps.reading import ReadSlices, gather_quarantine
from corpora.steps.signing import Sign
from corpora.steps.splitting import Split
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Everything that the stages of one build are made from."""

    config: BuildConfig
    sources: Sequence[Source]
    tasks: Sequence[Sequence[Slice]]
    folder: Path
    """Of the build, within ``OUT.work``; on a cluster every worker sees it."""
    known: tuple[Path, ...]
    """What earlier runs left in the index."""

    def run(self, engine: EngineConfig, quarantine: Quarantine) -> Funnel:
        """Run all stages, and return what became of the documents; the shards wait for ``publish``.

        Args:
            engine: Where tasks run.
            quarantine: Takes what could not be read.

        Raises:
            InputError: If nothing survives, too many records were quarantined, or the input is damaged.
            Interrupted: If it was stopped; the next run goes on from there.
        """
        read = run_stage(self._read, engine, self.folder)
        gather_quarantine(self._read.folder(self.folder), len(self.tasks), quarantine)
        quarantine.check(self.config.max_quarantined)
        for stage in self._dedup_stages(_num_bytes(read)):
            run_stage(stage, for_little(engine, _num_bytes(read)), self.folder)
        written = run_stage(self._write, engine, self.folder)
        funnel = Funnel(steps=(*read, *written), quarantined=quarantine.counts)
        _require_survivors(funnel)
        return funnel

    def publish(self, out: Path) -> None:
        """Move the finished shards into ``out``, and what they hold into the index, if there is one."""
        move_shards(self.folder / "shards", out)
        gather_contaminated(self._read.folder(self.folder), out / CONTAMINATED)
        if self.config.index is not None and self._index is not None:
            seal_index(self._index, self._dedup)
            publish_index(self._index, self.config.index, index_name(self.config.out))

    @cached_property
    def _read(self) -> Stage:
        name = "read"
        folder = self.folder / "stages" / name
        steps = [
            ReadSlices(self.sources, self.tasks, folder),
            *cleaning_steps(self.config, folder),
            *filtering_steps(self.config, folder, self.folder / "resources"),
            Sign(self._dedup_folder, self._dedup),
            WriteParts(self.folder / "parts"),
        ]
        return Stage(name=name, pipeline=steps, num_tasks=len(self.tasks))

    @cached_property
    def _write(self) -> Stage:
        name = "write"
        steps = [
            ReadParts(self.folder / "parts"),
            Deduplicate(self._dedup_folder, self._dedup, self.folder / "stages" / name),
            Split(self.config.valid_fraction),
            WriteShards(self.folder / "shards"),
        ]
        return Stage(name=name, pipeline=steps, num_tasks=len(self.tasks))

    def _dedup_stages(self, num_bytes: int) -> list[Stage]:
        return dedup_stages(
            self._dedup_folder,
            len(self.tasks),
            self._dedup,
            num_bytes,
            runs=self.known,
            index_out=self._index,
        )

    @property
    def _index(self) -> Path | None:
        return None if self.config.index is None else self.folder / "index"

    @property
    def _dedup_folder(self) -> Path:
        return self.folder / "dedup"

    @cached_property
    def _dedup(self) -> DedupConfig:
        return self.config.dedup_config


def _num_bytes(read: Sequence[StepCounts]) -> int:
    return by_value(read[0].counts, "bytes").total()


def _require_survivors(funnel: Funnel) -> None:
    kept = funnel.total("documents_kept")
    if kept > funnel.total("documents_valid"):
        return
    if kept:
        raise InputError(
            f"all {kept} documents that were kept fell into the held-out split, which leaves none "
            "to train on; pass more text or a smaller --valid-fraction."
        )
    counts = funnel.dropped + funnel.quarantined
    reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.most_common()) or "no record was found"
    raise InputError(f"no document survived ({reasons}); check the input, --lang and the filters.")
