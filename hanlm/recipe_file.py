"""A recipe file: its stages with every reference resolved, checked before anything runs.

A recipe is YAML::

    stages:
      corpus: {command: corpus build, with: {input: [/data/zh]}}
      model:  {command: extend-vocab, with: {base: "${recipe}/demo/base", corpus: ["${corpus}"]}}

``${NAME}`` stands for the folder of an earlier stage, ``${run}`` for the run's own, ``${recipe}`` for the folder
of the recipe file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlm.config import check_keys, paths_in, read_yaml, unknown_key
from hanlm.errors import ConfigError, InputError

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


def recipes_folder() -> Path:
    """Return where the shipped recipes lie: in the wheel inside the package, in a checkout beside it."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def read_recipe(recipe: str, out: Path, changes: Sequence[str] = ()) -> dict[str, Stage]:
    """Return the stages of a recipe, references resolved.

    Args:
        recipe: A YAML file, or the name of a recipe that HanLM ships.
        out: The run's folder.
        changes: Each ``STAGE.KEY=VALUE``, the value in YAML.

    Raises:
        InputError: If there is no such recipe.
        ConfigError: If it has unknown keys, commands, or references to stages that do not come earlier.
    """
    path = _find(recipe)
    data = read_yaml(path)
    for key in data:
        if key not in ("description", "stages"):
            raise ConfigError(f"{path}: unknown key {key!r}; a recipe has description and stages.")
    stages = data.get("stages")
    if not isinstance(stages, dict) or not stages:
        raise ConfigError(f"{path}: expected stages, a mapping from a name to {{command, with}}; got {stages!r}.")
    for change in changes:
        _apply(stages, change)
    places = {"run": out, "recipe": path.parent}
    resolved: dict[str, Stage] = {}
    for name, raw in stages.items():
        _check_name(name, path)
        resolved[name] = _stage(raw, places, f"{path}, stage {name}")
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
            f"{path}: a stage's name is a word of letters, digits, - and _ that is none of {', '.join(_RESERVED)}; "
            f"got {name!r}."
        )


def _stage(raw: Any, places: Mapping[str, Path], where: str) -> Stage:
    if not isinstance(raw, dict) or "command" not in raw:
        raise ConfigError(f"{where}: expected a mapping with a command, got {raw!r}.")
    for key in raw:
        if key not in _STAGE_KEYS:
            raise ConfigError(unknown_key(str(key), _STAGE_KEYS, where))
    command, given, processes = str(raw["command"]), raw.get("with") or {}, raw.get("processes", 1)
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: expected `with` to hold `key: value` lines, got {given!r}.")
    if not isinstance(processes, int) or isinstance(processes, bool) or processes < 1:
        raise ConfigError(f"{where}: expected `processes` of 1 or more, got {processes!r}.")
    with_ = _resolve(given, places, where)
    config_type = _command_config(command, where)
    check_keys(with_, config_type, where)
    inputs = [p for path in paths_in(with_, config_type) for p in _read_by(path, places)]
    return Stage(command=command, with_=with_, processes=processes, inputs=tuple(inputs))


def _read_by(path: str, places: Mapping[str, Path]) -> list[str]:
    """Return what a stage reads that names a path; one that names the run reads every earlier stage."""
    if Path(path) == places["run"]:
        return [str(place) for name, place in places.items() if name not in ("run", "recipe")]
    return [path]


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

    target, equals, text = change.partition("=")
    name, *keys = target.split(".")
    if not (equals and keys and all(keys) and name in stages):
        raise ConfigError(f"--set takes STAGE.KEY=VALUE with a stage of {', '.join(map(str, stages))}; got {change!r}.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: the value is not valid YAML ({' '.join(str(error).split())}).") from None
    place = stages[name]
    for key in ("with", *keys[:-1]):
        if not isinstance(place, dict):
            break
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
    if not isinstance(place, dict):
        raise ConfigError(f"--set {change}: expected {target.rpartition('.')[0]} to hold keys, got {place!r}.")
    place[keys[-1]] = value
