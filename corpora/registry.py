"""Every step of ``hanlm corpus build`` that has a name, in the order in which they run."""

from collections.abc import Mapping

from corpora.choice import Preset, StepInfo

_BOTH: frozenset[Preset] = frozenset({"plain", "web"})
_WEB: frozenset[Preset] = frozenset({"web"})

STEPS: Mapping[str, StepInfo] = {
    "normalise": StepInfo(
        kind="clean", description="One form for line ends, blanks, widths and Unicode composition.", presets=_BOTH
    ),
    "duplicates": StepInfo(
        kind="dedup", description="Drop documents whose text an earlier one has, letter for letter.", presets=_BOTH
    ),
    "near-duplicates": StepInfo(
        kind="dedup", description="Drop documents that MinHash finds nearly equal to an earlier one.", presets=_WEB
    ),
    "repeated-lines": StepInfo(
        kind="dedup", description="Cut lines that stand in many documents out of all but the first.", presets=_WEB
    ),
    "repeated-passages": StepInfo(
        kind="dedup", description="Cut long passages that an earlier document has.", presets=frozenset()
    ),
}
