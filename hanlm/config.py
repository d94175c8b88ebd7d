"""Configuration files: YAML whose keys are checked against the command's dataclass before anything runs."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hanlm.errors import ConfigError, InputError

type NamedPath = str
"""A path, or ``NAME=PATH``."""


def read_config_file(path: Path, config_type: type) -> dict[str, Any]:
    """Return the mapping that a YAML file holds, its keys written with underscores.

    Raises:
        InputError: If the file is missing.
        ConfigError: If it is no YAML mapping or a key is unknown; suggests the nearest right one.
    """
    data = read_yaml(path)
    plain = {str(key).replace("-", "_"): value for key, value in data.items()}
    check_keys(plain, config_type, str(path))
    return plain


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no configuration file {path}; check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} should hold `key: value` lines, got {type(data).__name__}.")
    return data  # pyright: ignore[reportUnknownVariableType]


def check_keys(data: Mapping[str, Any], config_type: type, where: str) -> None:
    """Refuse keys that the dataclass does not have, in nested dataclasses too."""
    hints = get_type_hints(config_type)
    known = [f.name for f in dataclasses.fields(config_type)]
    for key, value in data.items():
        if key not in known:
            raise ConfigError(unknown_key(key, known, where))
        for nested in _dataclasses_in(hints[key]):
            for part in value if isinstance(value, list) else [value]:  # pyright: ignore[reportUnknownVariableType]
                if isinstance(part, dict):
                    check_keys(part, nested, f"{where}, {key}")  # pyright: ignore[reportUnknownArgumentType]


def paths_in(data: Mapping[str, Any], config_type: type) -> list[str]:
    """Return the paths that a configuration names, by the types of its fields: ``Path`` and ``NamedPath``."""
    hints = get_type_hints(config_type)
    return [path for key, value in data.items() for path in _paths_of(value, hints[key])]


def _paths_of(value: Any, hint: Any) -> list[str]:
    if isinstance(value, list):
        return [path for part in value for path in _paths_of(part, hint)]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Mapping):
        nested = _dataclasses_in(hint)
        return paths_in(value, nested[0]) if nested else []  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(value, str) or not value:
        return []
    if _mentions(hint, NamedPath):
        return [str(split_named_path(value)[1])]
    return [value] if _mentions(hint, Path) else []


def split_named_path(entry: str) -> tuple[str | None, Path]:
    """Return the name, if one is given, and the path of ``NAME=PATH`` or ``PATH``; an existing path is taken whole."""
    name, equals, rest = entry.partition("=")
    if not equals or not name or "/" in name or Path(entry).exists():
        return None, Path(entry)
    return name, Path(rest)


def _mentions(hint: Any, wanted: Any) -> bool:
    return hint is wanted or any(_mentions(arg, wanted) for arg in get_args(hint))


def unknown_key(key: str, known: Iterable[str], where: str) -> str:
    """Return the sentence for an unknown key, with the nearest known one."""
    near = difflib.get_close_matches(key, list(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}."
    return f"{where}: unknown key {key!r}; {hint}"


def _dataclasses_in(hint: Any) -> list[type]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    return [found for arg in get_args(hint) for found in _dataclasses_in(arg)]


def to_plain(value: object) -> Any:
    """Return a configuration as plain JSON and YAML values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value) if isinstance(value, Path) else value
