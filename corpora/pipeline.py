"""The stages of ``hanlm corpus build``: every one a run of datatrove's over tasks that a kill does not undo."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from corpora.config import BuildConfig
from corpora.dedup.config import DedupConfig
from corpora.dedup.index import publish_index, run_name, seal_index
from corpora.dedup.stages import dedup_stages
from corpora.engine.config import EngineConfig, for_little
from corpora.engine.counts import StepCounts
from corpora.engine.run import run_stage
from corpora.engine.stage import Stage
from corpora.funnel import Funnel
from corpora.read_stage import PERSONAL_DATA, cleaning_steps, filtering_steps
from corpora.report.kept_copies import with_copies
from corpora.report.quarantine import first_quarantined
from corpora.report.tokens import tokens_per_char
from corpora.report.write import samples_by_step, write_report
from corpora.sources.slices import Slice, read_slice
from corpora.sources.source import Source
from corpora.steps.contamination import CONTAMINATED, first_contaminated, gather_contaminated
from corpora.steps.deduplicating import Deduplicate
from corpora.steps.labels import by_value
from corpora.steps.measuring import Measure, MeasureRead
from corpora.steps.parts import DOCUMENTS, ReadParts, WriteParts
from corpora.steps.publishing import WriteShards, gather_shards
from corpora.steps.reading import ReadSlices, gather_quarantine
from corpora.steps.signing import Sign
from corpora.steps.splitting import Split
from hanlm.errors import ArtifactError, InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document

_READ, _WRITE = "read", "write"
_SAMPLED_SLICES, _SAMPLED_DOCUMENTS = 50, 2_000


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
        gather_quarantine(self._read_folder, len(self.tasks), quarantine)
        quarantine.check(self.config.max_quarantined)
        for stage in self._dedup_stages(_num_bytes(read)):
            run_stage(stage, for_little(engine, _num_bytes(read)), self.folder)
        written = run_stage(self._write, engine, self.folder)
        funnel = Funnel(steps=(*read, *written), quarantined=quarantine.counts)
        _require_all_parts(funnel)
        _require_survivors(funnel)
        return funnel

    def publish(self, out: Path, funnel: Funnel, quarantine: Path) -> None:
        """Put the finished shards and the report into ``out``, and what they hold into the index, if there is one."""
        gather_shards(self.folder / "shards", out)
        gather_contaminated(self._read_folder, out / CONTAMINATED)
        self._write_report(out, funnel, quarantine)
        if self.config.index is not None and self._index is not None:
            seal_index(self._index, self._dedup)
            publish_index(self._index, self.config.index, run_name(self.config.out))

    @cached_property
    def _read(self) -> Stage:
        folder = self._read_folder
        steps = [
            ReadSlices(self.sources, self.tasks, folder),
            MeasureRead(),
            *cleaning_steps(self.config, folder),
            *filtering_steps(self.config, folder, self.folder / "resources", self._sample),
            Sign(self._dedup_folder, self._dedup),
            WriteParts(self.folder / "parts"),
        ]
        return Stage(name=_READ, pipeline=steps, num_tasks=len(self.tasks))

    @cached_property
    def _write(self) -> Stage:
        steps = [
            ReadParts(self.folder / "parts"),
            Deduplicate(self._dedup_folder, self._dedup, self._write_folder),
            Split(self.config.valid_fraction),
            Measure(self._write_folder),
            WriteShards(self.folder / "shards"),
        ]
        return Stage(name=_WRITE, pipeline=steps, num_tasks=len(self.tasks))

    def _write_report(self, out: Path, funnel: Funnel, quarantine: Path) -> None:
        samples = with_copies(samples_by_step([self._read_folder, self._write_folder]), self.folder / "parts")
        tokenizer = self.config.tokenizer
        write_report(
            out,
            funnel,
            samples,
            quarantined=first_quarantined(quarantine, [source.path for source in self.sources]),
            contaminated=first_contaminated(out / CONTAMINATED),
            tokens_per_char=tokens_per_char(tokenizer, samples.get(Measure.name, {})) if tokenizer else None,
            mask=self.config.personal_data if PERSONAL_DATA in self.config.steps else None,
        )

    def _sample(self) -> Iterator[Document]:
        """Some documents from all over the input; what cannot be read is told when all of it is."""
        slices = [each for task in self.tasks for each in task]
        for each in slices[:: -(-len(slices) // _SAMPLED_SLICES)]:
            yield from islice(read_slice(each, self.sources[each.source], Quarantine()), _SAMPLED_DOCUMENTS)

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
    def _read_folder(self) -> Path:
        return self.folder / "stages" / _READ

    @property
    def _write_folder(self) -> Path:
        return self.folder / "stages" / _WRITE

    @property
    def _dedup_folder(self) -> Path:
        return self.folder / "dedup"

    @cached_property
    def _dedup(self) -> DedupConfig:
        return self.config.dedup_config


def _num_bytes(read: Sequence[StepCounts]) -> int:
    return by_value(read[0].counts, "bytes").total()


def _require_all_parts(funnel: Funnel) -> None:
    """A shared file system may show a worker an old list of files: then documents would vanish without a word."""
    written, read = (funnel.of_step(kind, "parts").get(DOCUMENTS, 0) for kind in ("write", "read"))
    if written != read:
        raise ArtifactError(
            f"expected {written} documents in the parts of the first stage, got {read}: the workers do not see the "
            "same files; remove the working folder and run the command again."
        )


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
