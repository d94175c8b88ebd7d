"""A corpus built with the measuring steps in it, and its report; the funnel comes back too."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpora.dedup.config import DedupConfig
from corpora.dedup.stages import dedup_stages
from corpora.engine.config import EngineConfig
from corpora.engine.run import run_stage
from corpora.engine.stage import Stage
from corpora.facts import Facts
from corpora.filters.language import Language
from corpora.filters.plain import HanRatio, Length
from corpora.funnel import Funnel
from corpora.report.kept_copies import with_copies
from corpora.report.quarantine import first_quarantined
from corpora.report.tokens import tokens_per_char
from corpora.report.write import samples_by_step, write_report
from corpora.sources.slices import list_slices
from corpora.sources.source import Source
from corpora.steps.cleaning import Clean
from corpora.steps.deduplicating import Deduplicate
from corpora.steps.filtering import Filter
from corpora.steps.measuring import Measure, MeasureRead
from corpora.steps.parts import ReadParts, WriteParts
from corpora.steps.publishing import WriteShards, gather_shards
from corpora.steps.reading import ReadSlices, gather_quarantine
from corpora.steps.signing import Sign
from corpora.steps.splitting import Split
from corpora.tasks import cut_into_tasks
from hanlm.quarantine import QUARANTINE, Quarantine
from hanlm.text import normalise

type Rules = Mapping[str, Callable[[Facts], str | None]]
type Cleaners = Mapping[str, Callable[[str], str]]

CLEANERS: Cleaners = {"normalise": normalise}
RULES: Rules = {
    "length": Length(min_chars=20, max_chars=20_000),
    "han-ratio": HanRatio(),
    "language": Language(),
}


def build_with_report(
    inputs: Sequence[Path],
    work: Path,
    *,
    task_bytes: int = 1 << 20,
    workers: int = 1,
    cleaners: Cleaners = CLEANERS,
    rules: Rules = RULES,
    dedup: DedupConfig | None = None,
    tokenizer: Path | None = None,
    **more: Any,
) -> tuple[Path, Funnel]:
    """Run the stages of a build in ``work``; return the folder with shards and report, and what was counted."""
    sources = [Source(path=path, lang="zh") for path in inputs]
    tasks = cut_into_tasks(list_slices(sources, task_bytes), task_bytes)
    build, engine, dedup = work / "build", EngineConfig(workers=workers), dedup or DedupConfig()
    read, write = build / "stages" / "read", build / "stages" / "write"

    def run(name: str, *steps: Any) -> Sequence[Any]:
        return run_stage(Stage(name=name, pipeline=steps, num_tasks=len(tasks)), engine, build)

    counts = [
        *run(
            "read",
            ReadSlices(sources, tasks, read),
            MeasureRead(),
            *(Clean(name, cleaner, chinese_only=False, folder=read) for name, cleaner in cleaners.items()),
            *(Filter(name, rule, read) for name, rule in rules.items()),
            Sign(build / "dedup", dedup),
            WriteParts(build / "parts"),
        )
    ]
    for stage in dedup_stages(build / "dedup", len(tasks), dedup, 1_000_000):
        run_stage(stage, engine, build)
    counts += run(
        "write",
        ReadParts(build / "parts"),
        Deduplicate(build / "dedup", dedup, write),
        Split(0.1),
        Measure(write),
        WriteShards(build / "shards"),
    )
    with Quarantine(work / QUARANTINE) as quarantine:
        gather_quarantine(read, len(tasks), quarantine)
    funnel = Funnel(steps=tuple(counts), quarantined=quarantine.counts)
    out = work / "out"
    out.mkdir()
    gather_shards(build / "shards", out)
    samples = with_copies(samples_by_step([read, write]), build / "parts")
    quarantined = first_quarantined(work / QUARANTINE, [source.path for source in sources])
    counted = tokens_per_char(tokenizer, samples["kept"]) if tokenizer else None
    write_report(out, funnel, samples, quarantined=quarantined, tokens_per_char=counted, **more)
    return out, funnel
