"""``hanlm corpus build``: raw text in, one clean, deduplicated, split corpus out."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpora.config import BuildConfig
from corpora.engine.config import EngineConfig
from corpora.registry import STEPS
from corpora.sources.source import Source
from hanlm.artifact import fingerprint
from hanlm.counts import by_reason
from hanlm.errors import ConfigError, InputError
from hanlm.log import say
from hanlm.publish import Input, publish, refuse_existing
from hanlm.quarantine import QUARANTINE, kept_quarantine
from hanlm.records import list_files

__all__ = ["BuildConfig", "Source", "build", "plan"]


def plan(config: BuildConfig) -> list[str]:
    """Say what would be read and written."""
    from corpora.sources.listing import survey

    refuse_existing(config.out, config.overwrite)
    lines = [line for source in config.all_sources() for line in survey(source)]
    _refuse_out_within_input(config)
    for path in (path for paths in config.side_inputs().values() for path in paths):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
    if config.exclude:
        lines.append(f"would leave out the texts of {len(list_files(config.exclude))} files")
    if config.decontaminate:
        lines.append(f"would leave out documents that hold texts of {len(config.decontaminate)} evaluation files")
    lines += [f"would go through {name}: {STEPS[name].description}" for name in config.steps]
    return [*lines, f"would write the corpus {config.out}"]


def build(config: BuildConfig) -> Path:
    """Write the corpus and return its folder.

    Raises:
        InputError: If input is missing, damaged, too much of it unreadable, or nothing survives the filters.
        ArtifactError: If ``out`` must not be replaced, or an input artifact is damaged.
        Interrupted: On SIGINT or SIGTERM, or if a worker was killed; nothing is published, and the next run goes on.
    """
    from corpora.dedup.index import known_runs, run_name
    from corpora.engine.run import refuse_queued_jobs
    from corpora.engine.stopping import stoppable
    from corpora.pipeline import Pipeline
    from corpora.sources.slices import list_slices
    from corpora.tasks import begin_or_go_on, cut_into_tasks

    plan(config)
    sources = config.all_sources()
    slices = list_slices(sources, config.task_bytes)
    inputs = _inputs(config, sources, {each.source: each.version for each in slices})
    engine = EngineConfig(
        executor=config.executor, workers=config.workers or len(os.sched_getaffinity(0)), slurm=config.slurm
    )
    if config.executor == "slurm":
        from corpora.engine.slurm_queue import require_answer

        require_answer()
    with publish(config.out, kind="corpus", config=config, inputs=inputs, overwrite=config.overwrite) as draft:
        folder = draft.work / "build"
        known = known_runs(config.index, config.dedup_config, run_name(config.out)) if config.index else []
        if engine.executor != "slurm":
            refuse_queued_jobs(folder / "stages")  # before the list of them may be removed
        if begin_or_go_on(folder, config.decides_the_result() | _contents(config, known), slices):
            say("going on with what an earlier try of the same command completed")
        tasks = cut_into_tasks(slices, config.task_bytes)
        pipeline = Pipeline(config=config, sources=sources, tasks=tasks, folder=folder, known=tuple(known))
        with stoppable(), kept_quarantine(draft) as quarantine:
            funnel = pipeline.run(engine, quarantine)
        pipeline.publish(draft.folder, funnel, draft.work / QUARANTINE)
        left = _passed_over(sources)
        draft.record(**funnel.manifest_keys(), files_passed_over=dict(left))
    say(funnel.sentence())
    if (most := funnel.mostly_dropped()) is not None:
        say(f"most documents were dropped, and more by {most} than by any other step; see {config.out}/report.html")
    if config.valid_fraction and not funnel.total("documents_valid"):
        say(
            "nothing was held out, so a model cannot be measured on this corpus; raise --valid-fraction if it should be"
        )
    if left:
        say(f"passed over files that are no text: {by_reason(left)}")
    return config.out


def _contents(config: BuildConfig, known: Sequence[Path]) -> dict[str, Any]:
    """Return hashes of what the steps read besides the texts: between two tries any of it may have been changed."""
    side = {name: [fingerprint(path) for path in paths] for name, paths in config.side_inputs().items()}
    return {"side_inputs": side, "known": {str(run): fingerprint(run) for run in known}}


def _refuse_out_within_input(config: BuildConfig) -> None:
    """Raise ``ConfigError`` if the corpus would lie in a folder of texts: the next build would read it as text."""
    for source in config.all_sources():
        is_folder = source.has_path and source.hub_name is None and source.path.is_dir()
        if is_folder and config.out.resolve().is_relative_to(source.path.resolve()):
            raise ConfigError(
                f"expected --out outside of the input {source.path}, got {config.out}, which the next build would read "
                "as text; choose another --out."
            )


def _inputs(config: BuildConfig, sources: Sequence[Source], versions: Mapping[int, str]) -> dict[str, Path | Input]:
    """Return what the manifest tells of the inputs; a data set of the hub has its version for a hash."""
    inputs: dict[str, Path | Input] = {}
    for number, source in enumerate(sources):
        is_file = source.has_path and source.hub_name is None
        place = str(source.path) if source.has_path else f"set:{source.set}"
        inputs[f"input-{number}"] = source.path if is_file else Input(path=place, hash=versions.get(number, ""))
    for name, paths in config.side_inputs().items():
        inputs |= {f"{name}-{number}": path for number, path in enumerate(paths)}
    return inputs | ({"tokenizer-0": config.tokenizer} if config.tokenizer else {})


def _passed_over(sources: Sequence[Source]) -> Counter[str]:
    from corpora.sources.listing import passed_over

    return sum((passed_over(source) for source in sources if source.has_path), Counter[str]())
