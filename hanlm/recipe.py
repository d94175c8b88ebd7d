"""``hanlm run``: a recipe's stages in order, each its own process, skipping what is finished.

A recipe is YAML::

    stages:
      corpus: {command: corpus build, with: {input: [/data/zh]}}
      model:  {command: extend-vocab, with: {base: "${recipe}/demo/base", corpus: ["${corpus}"]}}

``${NAME}`` stands for the folder of an earlier stage, ``${run}`` for the run's own, ``${recipe}`` for the folder
of the recipe file. A stage is stale, and is redone with all that depends on it, when its configuration, the hash of
an input, or HanLM itself differ from what ``RUN/run.json`` remembers.
"""

import fcntl
import json
import re
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any

from cyclopts import Parameter

from hanlm.artifact import fingerprint, replace_text, work_folder
from hanlm.config import check_keys, read_yaml, unknown_key
from hanlm.errors import ConfigError, HanLMError, InputError, Interrupted
from hanlm.launch import Outcome, launch
from hanlm.log import say
from hanlm.provenance import source_hash

STATE = "run.json"
_STAGE_KEYS = ("command", "with", "processes")
_STOPPED = (Interrupted.exit_code, 128 + signal.SIGINT, 128 + signal.SIGTERM)  # the last two: before it could say so
_REFERENCE = re.compile(r"\$\{([\w-]+)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage of a recipe."""

    command: str
    """A HanLM command, such as `corpus build`."""
    with_: dict[str, Any] = field(default_factory=dict[str, Any])
    """The command's configuration."""
    processes: int = 1
    """More than one starts the command under torchrun."""
    inputs: tuple[str, ...] = ()
    """The paths its configuration names; found, not written by hand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A named run."""

    recipe: Annotated[str, Parameter(help="A recipe's YAML file, or the name of one that HanLM ships.")] = field(
        kw_only=False
    )
    out: Path
    """The run's folder: one artifact per stage, named after it."""
    set: list[str] = field(default_factory=list[str])
    """Changes to the recipe, such as `pretrain.seconds=60`."""


def run(config: RunConfig) -> Path:
    """Run every stage that is not finished and return the run's folder.

    Raises:
        ConfigError: If the recipe is wrong; nothing has run then.
        HanLMError: If a stage failed; it has said why.
        Interrupted: If a signal stopped it; the same command goes on.
    """
    stages = read_recipe(config)
    config.out.mkdir(parents=True, exist_ok=True)
    with _Lock(config.out) as lock:
        state = _State(config.out / STATE)
        state.start(config.recipe, list(stages))
        for number, (name, stage) in enumerate(stages.items(), start=1):
            _run_stage(f"[{number}/{len(stages)}] {name}", name, stage, config.out, state, lock)
    return config.out


def plan(config: RunConfig) -> list[str]:
    """Return what would be run and what would be skipped."""
    state = _State(config.out / STATE)
    lines: list[str] = []
    redone: list[Path] = []
    for name, stage in read_recipe(config).items():
        depends = any(Path(p).is_relative_to(out) for p in stage.inputs for out in redone)
        finished = not depends and state.is_finished(name, _describe(stage))
        if not finished:
            redone.append(config.out / name)
        lines.append(f"{name}: hanlm {stage.command}: {'finished, would be skipped' if finished else 'would run'}")
    return lines


def recipes_folder() -> Path:
    """Return where the shipped recipes lie: in the wheel inside the package, in a checkout beside it."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def read_recipe(config: RunConfig) -> dict[str, Stage]:
    """Return the stages of a recipe, references resolved.

    Raises:
        InputError: If there is no such recipe.
        ConfigError: If it has unknown keys, commands, or references to stages that do not come earlier.
    """
    path = _find(config.recipe)
    data = read_yaml(path)
    for key in data:
        if key not in ("description", "stages"):
            raise ConfigError(f"{path}: unknown key {key!r}; a recipe has description and stages.")
    stages = data.get("stages")
    if not isinstance(stages, dict) or not stages:
        raise ConfigError(f"{path}: expected stages, a mapping from a name to {{command, with}}; got {stages!r}.")
    for change in config.set:
        _apply(stages, change)
    places = {"run": config.out, "recipe": path.parent}
    resolved: dict[str, Stage] = {}
    for name, raw in stages.items():
        resolved[name] = _stage(raw, places, f"{path}, stage {name}")
        places[name] = config.out / name
    return resolved


def _find(recipe: str) -> Path:
    path, shipped = Path(recipe), recipes_folder() / f"{recipe}.yaml"
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in recipes_folder().glob("*.yaml")))
    raise InputError(f"there is no recipe {recipe!r}; pass a YAML file or one of: {names}.")


def _stage(raw: Any, places: Mapping[str, Path], where: str) -> Stage:
    if not isinstance(raw, dict) or "command" not in raw:
        raise ConfigError(f"{where}: expected a mapping with a command, got {raw!r}.")
    for key in raw:
        if key not in _STAGE_KEYS:
            raise ConfigError(unknown_key(str(key), _STAGE_KEYS, where))
    command = str(raw["command"])
    with_ = _resolve(raw.get("with") or {}, places, where)
    check_keys(with_, _command_config(command, where), where)
    return Stage(
        command=command, with_=with_, processes=int(raw.get("processes", 1)), inputs=tuple(_paths(with_, places))
    )


def _command_config(command: str, where: str) -> type:
    from hanlm.cli import COMMANDS, config_type

    for known in COMMANDS:
        if " ".join(known.words) == command and command != "run":
            return config_type(known)
    names = ", ".join(" ".join(c.words) for c in COMMANDS if c.words != ("run",))
    raise ConfigError(f"{where}: unknown command {command!r}; commands: {names}.")


def _resolve(value: Any, places: Mapping[str, Path], where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(k).replace("-", "_"): _resolve(v, places, where) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, places, where) for v in value]
    if not isinstance(value, str):
        return value

    def place(match: re.Match[str]) -> str:
        if match[1] not in places:
            raise ConfigError(f"{where}: ${{{match[1]}}} is no earlier stage; there are: {', '.join(places)}.")
        return str(places[match[1]])

    return _REFERENCE.sub(place, value)


def _apply(stages: dict[str, Any], change: str) -> None:
    import yaml

    target, equals, value = change.partition("=")
    name, dot, key = target.partition(".")
    if not (equals and dot and name in stages):
        raise ConfigError(f"--set takes STAGE.KEY=VALUE with a stage of {', '.join(stages)}; got {change!r}.")
    with_ = stages[name].setdefault("with", {})
    *parents, last = key.split(".")
    for parent in parents:
        with_ = with_.setdefault(parent, {})
    with_[last] = yaml.safe_load(value)


def _run_stage(label: str, name: str, stage: Stage, out: Path, state: "_State", lock: IO[str]) -> None:
    place = out / name
    description = _describe(stage)
    if state.is_finished(name, description):
        say(f"{label}: finished before, skipped")
        return
    if not state.is_continued(name, description):
        shutil.rmtree(work_folder(place), ignore_errors=True)  # resume state of another configuration
    state.begin(name, description)
    say(f"{label}: hanlm {stage.command}")
    config = stage.with_ | {"out": str(place), "overwrite": True}
    outcome = launch(stage.command, config, out / "logs" / name, processes=stage.processes, keep_open=lock)
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


def _paths(value: Any, places: Mapping[str, Path]) -> list[str]:
    """Return the inputs that a configuration names; one that reads the whole run reads every earlier stage."""
    if isinstance(value, Mapping):
        return [p for v in value.values() for p in _paths(v, places)]
    if isinstance(value, list):
        return [p for v in value for p in _paths(v, places)]
    if not isinstance(value, str) or not value:
        return []
    if value == str(places["run"]):
        return [str(place) for name, place in places.items() if name not in ("run", "recipe")]
    path = value.rpartition("=")[2]  # `NAME=PATH` names a model
    return [path] if path.startswith(f"{places['run']}/") or ("/" in path and Path(path).exists()) else []


class _State:
    """``run.json``: what each stage was made from, how long it took, how much memory it needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.data = {"stages": {}}
        except ValueError:
            raise InputError(f"{path} is corrupt; remove it, and every stage is run again.") from None

    def start(self, recipe: str, names: list[str]) -> None:
        self.data["recipe"] = recipe
        self.data["stages"] = {name: s for name, s in self.data["stages"].items() if name in names}
        self._save()

    def is_finished(self, name: str, description: Mapping[str, Any]) -> bool:
        entry = self.data["stages"].get(name, {})
        return (
            entry.get("status") == "done"
            and entry["made_from"] == json.loads(json.dumps(description))
            and Path(entry["out"]).exists()
            and fingerprint(Path(entry["out"])) == entry["hash"]
        )

    def is_continued(self, name: str, description: Mapping[str, Any]) -> bool:
        entry = self.data["stages"].get(name, {})
        return entry.get("status") == "started" and entry["made_from"] == json.loads(json.dumps(description))

    def begin(self, name: str, description: Mapping[str, Any]) -> None:
        before = self.data["stages"].get(name, {}) if self.is_continued(name, description) else {}
        self.data["stages"][name] = {
            "status": "started",
            "made_from": dict(description),
            "seconds": before.get("seconds", 0.0),
            "peak_rss_bytes": before.get("peak_rss_bytes", 0),
        }
        self._save()

    def end(self, name: str, place: Path, outcome: Outcome) -> None:
        entry = self.data["stages"][name]
        entry["seconds"] = round(entry["seconds"] + outcome.seconds, 2)
        entry["peak_rss_bytes"] = max(entry["peak_rss_bytes"], outcome.peak_rss_bytes)
        if outcome.exit_code == 0:
            entry |= {"status": "done", "out": str(place), "hash": fingerprint(place)}
        self._save()

    def _save(self) -> None:
        replace_text(self.path, json.dumps(self.data, ensure_ascii=False, indent=1) + "\n")


class _Lock:
    """Hold the run's lock; the running stage inherits it, so that an orphan still keeps others out."""

    def __init__(self, out: Path) -> None:
        self.path = out / ".lock"

    def __enter__(self) -> IO[str]:
        self.file = self.path.open("w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HanLMError(
                f"{self.path.parent} is being written by another hanlm run; wait for it or stop it."
            ) from None
        return self.file

    def __exit__(self, *exc: object) -> None:
        self.file.close()
