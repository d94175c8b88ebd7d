"""``hanlm run``: a recipe's stages in order, each its own process, skipping what is finished.

A stage is stale, and is redone with all that depends on it, when its configuration, the hash of an input, or HanLM
itself differ from what ``RUN/run.json`` remembers, or its result was damaged.
"""

import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import IO, Annotated, Any

from cyclopts import Parameter

from hanlm.artifact import fingerprint
from hanlm.errors import HanLMError, InputError, Interrupted
from hanlm.launch import launch
from hanlm.locks import LOCK, exclusive
from hanlm.log import say
from hanlm.provenance import source_hash
from hanlm.publish import work_folder
from hanlm.recipe_file import Recipe, Stage, read_recipe
from hanlm.run_state import RunState

STATE = "run.json"
_STOPPED = (Interrupted.exit_code, 128 + signal.SIGINT, 128 + signal.SIGTERM)  # the last two: before it could say so


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A named run."""

    recipe: Annotated[str, Parameter(help="A recipe's YAML file, or the name of one that HanLM ships.")] = field(
        kw_only=False
    )
    out: Path
    """The run's folder: one artifact per stage, named after it."""
    set: list[str] = field(default_factory=list[str])
    """What the recipe asks for, such as `base=/models/llama`, and changes to it, such as `pretrained.seconds=60`."""


def run(config: RunConfig) -> Path:
    """Run every stage that is not finished and return the run's folder.

    Raises:
        ConfigError: If the recipe is wrong; nothing has run then.
        HanLMError: If a stage failed; it has said why.
        Interrupted: If a signal stopped it; the same command goes on.
    """
    recipe = read_recipe(config.recipe, config.out, config.set)
    if missing := _missing(recipe):
        raise InputError(f"expected what --set names, but {missing[0]}; check the path.")
    stages = recipe.stages
    config.out.mkdir(parents=True, exist_ok=True)
    with exclusive(config.out / LOCK, str(config.out)) as lock:
        state = RunState(config.out / STATE)
        state.start(config.recipe, list(stages))
        for number, (name, stage) in enumerate(stages.items(), start=1):
            _run_stage(f"[{number}/{len(stages)}] {name}", name, stage, config.out, state, lock)
    reports = [page for name in stages for page in sorted((config.out / name).glob("report.html"))]
    if reports:
        say(f"report: {reports[-1]}")
    return config.out


def plan(config: RunConfig) -> list[str]:
    """Return what the recipe is, and of each stage whether it would be run, and on which configuration."""
    recipe = read_recipe(config.recipe, config.out, config.set)
    state = RunState(config.out / STATE)
    lines = [*(f"{key}: {text}" for key, text in recipe.about.items()), *_missing(recipe)]
    redone: list[Path] = []
    for name, stage in recipe.stages.items():
        depends = any(Path(p).is_relative_to(out) for p in stage.inputs for out in redone)
        finished = not depends and state.is_finished(name, _describe(stage))
        if not finished:
            redone.append(config.out / name)
        processes = f" in {stage.processes} processes" if stage.processes > 1 else ""
        happens = "finished, would be skipped" if finished else f"would run{processes}"
        lines.append(f"{name}: hanlm {stage.command}: {happens}\n{_shown(stage.with_)}")
    return lines


def _missing(recipe: Recipe) -> list[str]:
    """Return a sentence for every path that the recipe was given and that is not there."""
    values = {name: [value] if isinstance(value, str) else value for name, value in recipe.inputs.items()}
    return [
        f"{name}: there is no {path}"
        for name, paths in values.items()
        for path in paths
        if not path.startswith("hf:") and not Path(path).exists()
    ]


def _shown(configuration: dict[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(configuration, allow_unicode=True, sort_keys=False, width=120)
    return indent(text.rstrip(), "    ")


def _run_stage(label: str, name: str, stage: Stage, out: Path, state: RunState, lock: IO[str]) -> None:
    place = out / name
    description = _describe(stage)
    if state.is_finished(name, description):
        say(f"{label}: finished before, skipped")
        return
    if not state.is_continued(name, description):
        shutil.rmtree(work_folder(place), ignore_errors=True)  # resume state of another configuration
    state.begin(name, description)
    say(f"{label}: hanlm {stage.command}")
    config = stage.with_ | {"out": str(place)}
    # --overwrite apart from the configuration: who repeats the stage by hand from LOG.yaml should not replace anything.
    outcome = launch(
        [*stage.command.split(), "--overwrite"],
        config,
        out / "logs" / name,
        processes=stage.processes,
        keep_open=lock,
    )
    state.end(name, place, outcome)
    if outcome.exit_code in _STOPPED:
        raise Interrupted(f"stopped in stage {name}; everything finished is kept: run the same command again to go on.")
    if outcome.exit_code:
        raise HanLMError(
            f"stage {name} (hanlm {stage.command}) ended with code {outcome.exit_code}; its message stands above and "
            f"in {out / 'logs' / name}.log: mend it and run the same command again."
        )
    say(f"{label}: done in {outcome.seconds:.0f} s, peak memory {outcome.peak_rss_bytes / 2**30:.1f} GiB")


def _describe(stage: Stage) -> dict[str, Any]:
    """Return all that decides a stage's result, as it is now; an input that is not there yet counts as such."""
    return {
        "command": stage.command,
        "config": stage.with_,
        "processes": stage.processes,
        "inputs": {p: (fingerprint(Path(p)) if Path(p).exists() else None) for p in stage.inputs},
        "hanlm": source_hash(),
    }
