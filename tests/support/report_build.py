"""A corpus built with the measuring steps in it, and its report; the funnel comes back too."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from corpora.engine.config import EngineConfig
from corpora.engine.run import run_stage
from corpora.engine.stage import Stage
from corpora.facts import Facts
from corpora.filters.language import Language
from corpora.filters.plain import HanRatio, Length
from corpora.funnel import Funnel
from corpora.report.quarantine import first_quarantined
from corpora.report.write import samples_by_step, write_report
from corpora.sources.slices import list_slices
from corpora.sources.source import Source
from corpora.steps.cleaning import Clean
from corpora.steps.filtering import Filter
from corpora.steps.measuring import Measure, MeasureRead
from corpora.steps.parts import ReadParts, WriteParts
from corpora.steps.publishing import WriteShards
from corpora.steps.reading import ReadSlices, gather_quarantine
from corpora.steps.splitting import Split
from corpora.tasks import cut_into_tasks
from hanlm.quarantine import Quarantine
from hanlm.text import normalise

type Rules = Mapping[str, Callable[[Facts], str | None]]

RULES: Rules = {
    "length": Length(min_chars=20, max_chars=20_000),
    "language": Language(),
    "han-ratio": HanRatio(),
}


CLEANERS: Mapping[str, Callable[[str], str]] = {"normalise": normalise}


def build_report(
    inputs: Sequence[Path],
    work: Path,
    *,
    task_bytes: int = 1 << 20,
    workers: int = 1,
    cleaners: Mapping[str, Callable[[str], str]] = CLEANERS,
    rules: Rules = RULES,
    after: Sequence[PipelineStep] = (),
    **more: Any,
) -> tuple[Path, Funnel]:
    """Run the stages of a build in ``work``; return the folder with the report in it, and what was counted."""
    sources = [Source(path=path, lang="zh") for path in inputs]
    tasks = cut_into_tasks(list_slices(sources, task_bytes), task_bytes)
    read, write = work / "stages" / "read", work / "stages" / "write"
    stages = {
        "read": [
            ReadSlices(sources, tasks, read),
            MeasureRead(),
            *(Clean(name, cleaner, chinese_only=False, folder=read) for name, cleaner in cleaners.items()),
            *(Filter(name, rule, read) for name, rule in rules.items()),
            WriteParts(work / "parts"),
        ],
        "write": [ReadParts(work / "parts"), *after, Split(0.1), Measure(write), WriteShards(work / "shards")],
    }
    engine = EngineConfig(workers=workers)
    steps = [
        step
        for name, pipeline in stages.items()
        for step in run_stage(Stage(name=name, pipeline=pipeline, num_tasks=len(tasks)), engine, work)
    ]
    with Quarantine(work / "quarantine.jsonl") as quarantine:
        gather_quarantine(read, len(tasks), quarantine)
    funnel = Funnel(steps=tuple(steps), quarantined=quarantine.counts)
    out = work / "out"
    out.mkdir()
    entries = first_quarantined(work / "quarantine.jsonl", [source.path for source in sources])
    write_report(out, funnel, samples_by_step([read, write]), quarantined=entries, **more)
    return out, funnel
