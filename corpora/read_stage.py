"""The first stage: slices are read, cleaned, filtered, signed for deduplication, and kept as parts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datatrove.pipeline.base import PipelineStep

from corpora.cleaning.registry import CLEANERS, make
from corpora.decontaminate import Decontaminate
from corpora.eval_index import build_index
from corpora.exclusions import read_exclusions
from corpora.facts import Rule
from corpora.filters.plain import HanRatio, Length
from corpora.filters.quality_registry import QUALITY_STEPS
from corpora.steps.cleaning import Clean
from corpora.steps.contamination import DropContaminated
from corpora.steps.filtering import Filter
from corpora.steps.masking import Mask

if TYPE_CHECKING:
    from corpora.build import BuildConfig

_PERSONAL_DATA = "personal-data"


def cleaning_steps(config: "BuildConfig", folder: Path) -> Iterator[PipelineStep]:
    """Yield the chosen cleaners as steps.

    What they leave is normalised once more: its hash decides on duplicates and on the split, and a tag that is gone may
    have left a blank at the end.
    """
    names = [name for name in config.steps if name in CLEANERS]
    for name in names:
        if name == _PERSONAL_DATA:
            yield Mask(name, config.personal_data, folder)
        else:
            yield Clean(name, make(name), chinese_only=CLEANERS[name].chinese_only, folder=folder)
    if "normalise" in names and names != ["normalise"]:
        yield Clean("normalise-again", make("normalise"), chinese_only=False, folder=folder)


def filtering_steps(config: "BuildConfig", folder: Path, resources: Path) -> Iterator[PipelineStep]:
    """Yield the chosen rules as steps, and those that files of the user's ask for.

    Args:
        config: The configuration.
        folder: Of the stage.
        resources: Folder for what is made once and read by every task.
    """
    if config.exclude:
        yield Filter("exclude", read_exclusions(config.exclude, config.max_quarantined), folder)
    if config.decontaminate:
        path = resources / "evaluation.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        build_index(config.decontaminate, config.decontamination).save(path)
        yield DropContaminated(Decontaminate(path), folder)
    for name, rule in _rules(config).items():
        if name in config.steps:
            yield Filter(name, rule(), folder)


def _rules(config: "BuildConfig") -> dict[str, Callable[[], Rule]]:
    """Return what makes each rule, in the order of their steps: cheap and certain ones first."""
    rules = config.rules
    plain: dict[str, Callable[[], Rule]] = {
        "length": lambda: Length(min_chars=config.min_chars, max_chars=config.max_chars),
        "han-ratio": lambda: HanRatio(
            min_han_ratio=config.min_han_ratio, max_han_ratio_other=config.max_han_ratio_other
        ),
        "language": lambda: rules.language,
        "spam": lambda: rules.spam,
        "lingua": lambda: rules.lingua,
    }
    quality = {name: (lambda step=step: step.make(rules.quality)) for name, step in QUALITY_STEPS.items()}
    return plain | quality
