"""What whoever runs a recipe says of it: its inputs, and changes to its stages, both by ``--set``.

A recipe declares its inputs::

    inputs:
      base: LLaMA-7B as a Hugging Face folder            # must be given: --set base=/models/llama-7b
      more: {help: further Chinese text, default: []}    # may be given
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hanlm.errors import ConfigError

type Given = str | list[str]
"""A path, or several: a list takes the place of ``${NAME}`` item by item."""


def split_changes(changes: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the inputs among changes, each ``NAME=VALUE``, and the others, each ``STAGE.KEY=VALUE``."""
    inputs, others = dict[str, str](), list[str]()
    for change in changes:
        name, equals, text = change.partition("=")
        if equals and "." not in name:
            inputs[name] = text
        else:
            others.append(change)
    return inputs, others


def read_inputs(declared: Any, given: Mapping[str, str], where: str) -> dict[str, Given]:
    """Return the value of every input that a recipe declares.

    Raises:
        ConfigError: If one is missing, unknown or empty, or the declaration is wrong.
    """
    if not isinstance(declared, Mapping):
        raise ConfigError(f"{where}: expected inputs to map each name to what it is, got {declared!r}.")
    if unknown := [name for name in given if name not in declared]:
        known = f"takes {', '.join(map(str, declared))}" if declared else "takes no inputs"
        raise ConfigError(f"{where} {known}, got --set {unknown[0]}=…; changes to a stage are --set STAGE.KEY=VALUE.")
    words = {str(name): _words(name, entry, where) for name, entry in declared.items()}
    values = {str(name): entry["default"] for name, entry in declared.items() if isinstance(entry, Mapping)}
    values |= {name: _value(name, text) for name, text in given.items()}
    if missing := [name for name in words if name not in values]:
        listed = "; ".join(f"{name}, {words[name]}" for name in missing)
        flags = " ".join(f"--set {name}=PATH" for name in missing)
        raise ConfigError(f"{where} needs {listed}; pass {flags}.")
    return values


def change_stages(stages: dict[str, Any], changes: Sequence[str]) -> None:
    """Apply changes ``STAGE.KEY=VALUE`` to a recipe's stages; a key may lead into mappings and, by number, into lists.

    Raises:
        ConfigError: If one leads nowhere, or its value is not valid YAML.
    """
    for change in changes:
        _apply(stages, change)


def _words(name: object, entry: Any, where: str) -> str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Mapping) and set(entry) == {"help", "default"} and isinstance(entry["help"], str):
        return entry["help"]
    raise ConfigError(f"{where}: expected input {name} to be a sentence, or its help and default; got {entry!r}.")


def _value(name: str, text: str) -> Given:
    import yaml

    value: Any = text
    if text.startswith("["):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {name}: the list is not valid YAML ({' '.join(str(error).split())}).") from None
    if not value:
        raise ConfigError(f"--set {name} expects a path or a list of them, got nothing.")
    return [str(part) for part in value] if isinstance(value, list) else text  # pyright: ignore[reportUnknownVariableType]


def _apply(stages: dict[str, Any], change: str) -> None:
    import yaml

    target, equals, text = change.partition("=")
    name, *keys = target.split(".")
    if not (equals and keys and all(keys) and name in stages):
        raise ConfigError(
            f"--set takes STAGE.KEY=VALUE with a stage of {', '.join(map(str, stages))}, or INPUT=PATH; got {change!r}."
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: the value is not valid YAML ({' '.join(str(error).split())}).") from None
    place = stages[name]
    if keys != ["processes"]:  # a stage's own key, which no command's configuration has
        keys = ["with", *keys]
    for key in keys[:-1]:
        if isinstance(place, dict) and place.get(key) is None:
            place[key] = {}
        place = _inside(place, key)
    last: Any = keys[-1] if isinstance(place, dict) else _index(place, keys[-1])
    if last is None:
        raise ConfigError(f"--set {change}: expected {target.rpartition('.')[0]} to hold keys, got {place!r}.")
    place[last] = value


def _inside(place: Any, key: str) -> Any:
    if isinstance(place, dict):
        return place[key]  # pyright: ignore[reportUnknownVariableType]
    index = _index(place, key)
    return place if index is None else place[index]


def _index(place: Any, key: str) -> int | None:
    if isinstance(place, list) and key.isdecimal() and int(key) < len(place):  # pyright: ignore[reportUnknownArgumentType]
        return int(key)
    return None
