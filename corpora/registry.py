"""Every step of ``hanlm corpus build`` that can be turned on and off, in the order in which they run."""

from collections.abc import Mapping
from typing import Final

from corpora.choice import Preset, StepInfo
from corpora.cleaning.registry import CLEANERS
from corpora.filters.quality_registry import QUALITY_STEPS

_BOTH: Final[frozenset[Preset]] = frozenset({"plain", "web"})
_WEB: Final[frozenset[Preset]] = frozenset({"web"})
_ASKED: Final[frozenset[Preset]] = frozenset()

_FILTERS: Final = {
    "length": StepInfo("filter", "empty documents, and those outside --min-chars and --max-chars", _BOTH),
    "han-ratio": StepInfo(
        "filter", "documents with too little Han for Chinese, or too much for another language", _BOTH
    ),
    "language": StepInfo("filter", "documents called Chinese that are Japanese, Korean or another language", _WEB),
    "spam": StepInfo(
        "filter", "advertisements, gambling, pornography, fake papers, pages made for search engines", _WEB
    ),
    "lingua": StepInfo("filter", "documents in another language than they declare, by the package lingua", _ASKED),
}

_DEDUP: Final = {
    "duplicates": StepInfo("dedup", "documents whose text an earlier one has, character for character", _BOTH),
    "near-duplicates": StepInfo("dedup", "documents that MinHash finds nearly equal to an earlier one", _WEB),
    "repeated-lines": StepInfo("dedup", "lines that stand in many documents, cut from all but the first", _WEB),
    "repeated-passages": StepInfo(
        "dedup", "long passages that an earlier document has, cut from the later ones", _ASKED
    ),
}

STEPS: Final[Mapping[str, StepInfo]] = {
    **{name: StepInfo("clean", info.description, frozenset(info.presets)) for name, info in CLEANERS.items()},
    **_FILTERS,
    **{name: StepInfo("filter", step.description, step.presets) for name, step in QUALITY_STEPS.items()},
    **_DEDUP,
}
"""By name. Of a filter the description says what it drops."""
