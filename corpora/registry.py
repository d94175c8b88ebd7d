"""The steps of ``hanlm corpus build`` that can be turned on and off, in their order, and how they are chosen."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from corpora.cleaning.registry import CLEANERS
from corpora.filters.chinese_registry import CHINESE_RULES
from corpora.filters.quality_registry import QUALITY_STEPS
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


_BOTH: Final = frozenset({"plain", "web"})
_WEB: Final = frozenset({"web"})
_ASKED: Final = frozenset[str]()

SCORE: Final = "score"

_DEDUP: Final = {
    "duplicates": StepInfo("dedup", "documents whose text an earlier one has, character for character", _BOTH),
    "near-duplicates": StepInfo("dedup", "documents that MinHash finds nearly equal to an earlier one", _WEB),
    "common-lines": StepInfo("dedup", "lines that stand in many documents, cut from all but the first", _WEB),
    "common-passages": StepInfo("dedup", "long passages that an earlier document has, cut from the later ones", _ASKED),
}

STEPS: Final[Mapping[str, StepInfo]] = {
    **{name: StepInfo("clean", info.description, frozenset(info.presets)) for name, info in CLEANERS.items()},
    **{name: StepInfo("filter", what, frozenset(presets)) for name, (_, what, presets) in CHINESE_RULES.items()},
    **{name: StepInfo("filter", step.description, step.presets) for name, step in QUALITY_STEPS.items()},
    SCORE: StepInfo("filter", "documents unlike the user's good sample", _ASKED),
    **_DEDUP,
}
"""By name. Of a filter and of deduplication the description says what goes."""


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
