"""The stages of ``hanlm corpus build``: every one a run of datatrove's over tasks that a kill does not undo."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from corpora.build import BuildConfig
from corpora.engine.config import EngineConfig
from corpora.engine.run import run_stage
from corpora.engine.stage import Stage
from corpora.exclusions import read_exclusions
from corpora.facts import Rule
from corpora.filters.plain import HanRatio, Length
from corpora.funnel import Funnel
from corpora.sources.slices import Slice
from corpora.sources.source import Source
from corpora.steps.cleaning import Clean
from corpora.steps.filtering import Filter
from corpora.steps.parts import ReadParts, WriteParts
from corpora.steps.publishing import WriteShards, move_shards
from corpora.steps.reading import ReadSlices, gather_quarantine
from corpora.steps.splitting import Split
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.text import normalise


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Everything that the stages of one build are made from."""

    config: BuildConfig
    sources: Sequence[Source]
    tasks: Sequence[Sequence[Slice]]
    folder: Path
    """Of the build, within ``OUT.work``; on a cluster every worker sees it."""

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
        written = run_stage(self._write, engine, self.folder)
        funnel = Funnel(steps=(*read, *written), quarantined=quarantine.counts)
        _require_survivors(funnel)
        return funnel

    def publish(self, out: Path) -> None:
        """Move the finished shards into ``out``."""
        move_shards(self.folder / "shards", out)

    @cached_property
    def _read(self) -> Stage:
        name = "read"
        folder = self.folder / "stages" / name
        steps = [
            ReadSlices(self.sources, self.tasks, folder),
            Clean("normalise", normalise, chinese_only=False, folder=folder),
            *(Filter(rule_name, rule, folder) for rule_name, rule in self._rules()),
            WriteParts(self.folder / "parts"),
        ]
        return Stage(name=name, pipeline=steps, num_tasks=len(self.tasks))

    @cached_property
    def _write(self) -> Stage:
        steps = [
            ReadParts(self.folder / "parts"),
            Split(self.config.valid_fraction),
            WriteShards(self.folder / "shards"),
        ]
        return Stage(name="write", pipeline=steps, num_tasks=len(self.tasks))

    def _rules(self) -> Iterator[tuple[str, Rule]]:
        config = self.config
        yield "length", Length(min_chars=config.min_chars, max_chars=config.max_chars)
        yield "han-ratio", HanRatio(min_han_ratio=config.min_han_ratio, max_han_ratio_other=config.max_han_ratio_other)
        if config.exclude:
            yield "exclude", read_exclusions(config.exclude, config.max_quarantined)


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
