"""Every step of ``hanlm corpus build`` that has a name, in the order in which they run."""

from collections.abc import Mapping

from corpora.choice import Preset, StepInfo

_BOTH: frozenset[Preset] = frozenset({"plain", "web"})

STEPS: Mapping[str, StepInfo] = {
    "normalise": StepInfo(
        kind="clean", description="One form for line ends, blanks, widths and Unicode composition.", presets=_BOTH
    ),
}
