"""A recipe file: its stages with every reference resolved, checked before anything runs.

A recipe is YAML::

    stages:
      corpus: {command: corpus build, with: {input: [/data/zh]}}
      model:  {command: extend-vocab, with: {base: "${recipe}/demo/base", corpus: ["${corpus}"]}}

``${NAME}`` stands for the folder of an earlier stage or for an input of the recipe, ``${run}`` for the run's own
folder, ``${recipe}`` for that of the recipe file.
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlm.config import check_keys, paths_in, read_yaml, unknown_key
from hanlm.errors import ConfigError, InputError
from hanlm.recipe_inputs import Given, change_stages, read_inputs, split_changes

if TYPE_CHECKING:
    from hanlm.cli import Command

_ABOUT = ("description", "source", "result", "hardware")
_KEYS = (*_ABOUT, "inputs", "stages")
_STAGE_KEYS = ("command", "with", "processes")
_RESERVED = ("run", "recipe", "logs")
_NAME = re.compile(r"\w[\w-]*")
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
class Recipe:
    """A recipe with every reference resolved."""

    about: dict[str, str]
    """What it says of itself: description, source, published result, hardware."""
    inputs: dict[str, Given]
    """What it was given, by name."""
    stages: dict[str, Stage]
    """Its stages, in order."""


def recipes_folder() -> Path:
    """Return where the shipped recipes lie: in the wheel inside the package, in a checkout beside it."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def read_recipe(recipe: str, out: Path, changes: Sequence[str] = ()) -> Recipe:
    """Return a recipe, references resolved and every stage checked as its command would check it.

    Args:
        recipe: A YAML file, or the name of a recipe that HanLM ships.
        out: The run's folder.
        changes: Each ``INPUT=PATH``, or ``STAGE.KEY=VALUE`` with the value in YAML.

    Raises:
        InputError: If there is no such recipe.
        ConfigError: If it has unknown keys, commands, values that a command refuses, or references to stages that do
            not come earlier; or if an input is missing.
    """
    path = _find(recipe)
    data = read_yaml(path)
    for key in data:
        if key not in _KEYS:
            raise ConfigError(f"{path}: unknown key {key!r}; a recipe has {', '.join(_KEYS)}.")
    stages = data.get("stages")
    if not isinstance(stages, dict) or not stages:
        raise ConfigError(f"{path}: expected stages, a mapping from a name to {{command, with}}; got {stages!r}.")
    stages = {name: deepcopy(stage) for name, stage in stages.items()}  # what an anchor shares is not changed together
    given, others = split_changes(changes)
    inputs = read_inputs(data.get("inputs") or {}, given, f"recipe {path.stem}")
    change_stages(stages, others)
    resolved = _stages(stages, {"run": out, "recipe": path.parent}, inputs, path)
    about = {key: " ".join(str(data[key]).split()) for key in _ABOUT if data.get(key)}
    return Recipe(about=about, inputs=inputs, stages=resolved)


def _stages(
    stages: Mapping[Any, Any], places: dict[str, Path], inputs: Mapping[str, Given], path: Path
) -> dict[str, Stage]:
    for name in inputs:
        _check_name(name, path)
    resolved: dict[str, Stage] = {}
    out = places["run"]
    for name, raw in stages.items():
        _check_name(name, path)
        if name in inputs:
            raise ConfigError(f"{path}: {name} is both an input and a stage; rename one of them.")
        resolved[name] = _stage(raw, places, inputs, out / name, f"{path}, stage {name}")
        places[name] = out / name
    return resolved


def _find(recipe: str) -> Path:
    path, shipped = Path(recipe), recipes_folder() / f"{recipe}.yaml"
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in recipes_folder().glob("*.yaml")))
    raise InputError(f"there is no recipe {recipe!r}; pass a YAML file or one of: {names}.")


def _check_name(name: object, path: Path) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
        raise ConfigError(
            f"{path}: the name of a stage or an input is a word of letters, digits, - and _ that is none of "
            f"{', '.join(_RESERVED)}; got {name!r}."
        )


def _stage(raw: Any, places: Mapping[str, Path], inputs: Mapping[str, Given], out: Path, where: str) -> Stage:
    from hanlm.cli import config_type, read_values

    if not isinstance(raw, dict) or "command" not in raw:
        raise ConfigError(f"{where}: expected a mapping with a command, got {raw!r}.")
    for key in raw:
        if key not in _STAGE_KEYS:
            raise ConfigError(unknown_key(str(key), _STAGE_KEYS, where))
    name, given, processes = str(raw["command"]), raw.get("with") or {}, raw.get("processes", 1)
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: expected `with` to hold `key: value` lines, got {given!r}.")
    if not isinstance(processes, int) or isinstance(processes, bool) or processes < 1:
        raise ConfigError(f"{where}: expected `processes` of 1 or more, got {processes!r}.")
    with_ = _resolve(given, {**inputs, **places}, where)
    command = _command(name, where)
    check_keys(with_, config := config_type(command), where)
    read_values(command, with_ | {"out": str(out)}, where)
    read = [p for path in paths_in(with_, config) for p in _read_by(path, places)]
    return Stage(command=name, with_=with_, processes=processes, inputs=tuple(read))


def _read_by(path: str, places: Mapping[str, Path]) -> list[str]:
    """Return what a stage reads that names a path; one that names the run reads every earlier stage."""
    if Path(path) == places["run"]:
        return [str(place) for name, place in places.items() if name not in ("run", "recipe")]
    return [path]


def _command(name: str, where: str) -> "Command":
    from hanlm.cli import COMMANDS

    for known in COMMANDS:
        if " ".join(known.words) == name and name != "run":
            return known
    names = ", ".join(" ".join(c.words) for c in COMMANDS if c.words != ("run",))
    raise ConfigError(f"{where}: unknown command {name!r}; commands: {names}.")


def _resolve(value: Any, known: Mapping[str, Path | Given], where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(k).replace("-", "_"): _resolve(v, known, where) for k, v in value.items()}
    if isinstance(value, list):
        return [part for v in value for part in _items(v, known, where)]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole and isinstance(several := known.get(whole[1]), list):
        return [*several]

    def place(match: re.Match[str]) -> str:
        if (found := known.get(match[1])) is None:
            raise ConfigError(
                f"{where}: ${{{match[1]}}} is no earlier stage and no input; there are: {', '.join(known)}."
            )
        if isinstance(found, list):
            raise ConfigError(f"{where}: expected one path for {match[1]} in {value!r}, got {len(found)}.")
        return str(found)

    return _REFERENCE.sub(place, value)


def _items(value: Any, known: Mapping[str, Path | Given], where: str) -> list[Any]:
    """Return an item of a list resolved: an input of several paths becomes several items."""
    resolved = _resolve(value, known, where)
    return resolved if isinstance(value, str) and isinstance(resolved, list) else [resolved]
