"""Which steps a corpus goes through: a preset, and what is added to it and left out of it by name."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hanlm.errors import ConfigError

type Preset = Literal["plain", "web"]


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What a user is told of a step that can be turned on and off."""

    kind: Literal["clean", "filter", "dedup"]
    description: str
    """One line."""
    presets: frozenset[str]
    """Those that it is part of; in no preset it has to be asked for."""


def chosen(
    steps: Mapping[str, StepInfo], preset: Preset, added: Sequence[str], left_out: Sequence[str]
) -> tuple[str, ...]:
    """Return the names of the steps to run, in the order of ``steps``.

    Raises:
        ConfigError: If a name is unknown, or both added and left out.
    """
    for flag, names in (("--add", added), ("--skip", left_out)):
        for name in names:
            if name not in steps:
                raise ConfigError(_unknown(flag, name, steps))
    if both := set(added) & set(left_out):
        raise ConfigError(f"expected {sorted(both)[0]} in --add or in --skip, got it in both.")
    return tuple(
        name for name, info in steps.items() if (preset in info.presets or name in added) and name not in left_out
    )


def _unknown(flag: str, name: str, steps: Mapping[str, StepInfo]) -> str:
    near = difflib.get_close_matches(name, steps, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"steps: {', '.join(steps)}."
    return f"{flag} {name}: unknown step; {hint}"
