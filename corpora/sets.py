"""``hanlm corpus sets``: the well-known sets of text, their licences, and how to fetch each."""

from dataclasses import dataclass, field
from typing import Annotated

from cyclopts import Parameter

_WIDTH = 44


@dataclass(frozen=True, kw_only=True, slots=True)
class SetsConfig:
    """List the well-known sets of text, or show one whole."""

    name: Annotated[str, Parameter(help="A set of the list, to be shown whole.")] = field(default="", kw_only=False)


def plan(config: SetsConfig) -> list[str]:
    """Say what would be printed."""
    return [f"would show {config.name or 'the list of known sets'}"]


def sets(config: SetsConfig) -> None:
    """Print the list as a table, or one entry whole.

    Raises:
        ConfigError: If no set has that name.
    """
    print(describe(config.name) if config.name else table())


def table() -> str:
    """Return one line for each set: its name, language, size and licence."""
    from corpora.sources.known_sets import known_sets

    rows = [("NAME", "LANG", "SIZE", "LICENCE")]
    rows += [(name, entry.lang, entry.size, entry.license) for name, entry in known_sets().items()]
    cut = [[_shortened(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cut) for column in range(3)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in cut]
    return "\n".join([*lines, "", "`hanlm corpus sets NAME` shows one whole; a source `set: NAME` takes its columns."])


def describe(name: str) -> str:
    """Return one entry as YAML, with the lines of a configuration that reads it."""
    import yaml

    from corpora.sources.known_sets import known_set
    from hanlm.config import to_plain

    known = known_set(name)
    entry = {key: value for key, value in to_plain(known).items() if value}
    path = "" if known.hub else ", path: FOLDER"
    source = f"# in the configuration of `hanlm corpus build`:\n# sources: [{{set: {name}{path}}}]"
    return yaml.safe_dump({name: entry}, allow_unicode=True, sort_keys=False, width=100).rstrip() + "\n" + source


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
