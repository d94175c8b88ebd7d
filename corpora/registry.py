"""Every step of ``hanlm corpus build`` that can be turned on and off, in the order in which they run."""

from collections.abc import Mapping
from typing import Final

from corpora.choice import StepInfo
from corpora.cleaning.registry import CLEANERS
from corpora.filters.chinese_registry import CHINESE_RULES
from corpora.filters.quality_registry import QUALITY_STEPS

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
