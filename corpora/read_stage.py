"""The first stage: slices are read, cleaned, filtered, signed for deduplication, and kept as parts."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datatrove.pipeline.base import PipelineStep

from corpora.cleaning.chain import Chain
from corpora.cleaning.registry import CLEANERS, make
from corpora.evaluation.build import build_index
from corpora.evaluation.decontaminate import Decontaminate
from corpora.evaluation.exclusions import read_exclusions
from corpora.facts import Rule
from corpora.filters.chinese_registry import CHINESE_RULES
from corpora.filters.plain import HanRatio, Length
from corpora.filters.quality_registry import QUALITY_STEPS
from corpora.filters.score import is_scored, make_score_rule
from corpora.filters.score_sample import sample_texts
from corpora.registry import SCORE
from corpora.steps.cleaning import Clean
from corpora.steps.contamination import DropContaminated
from corpora.steps.filtering import Filter
from corpora.steps.masking import Mask
from hanlm.records import Document

if TYPE_CHECKING:
    from corpora.config import BuildConfig

PERSONAL_DATA = "personal-data"
_NUM_SAMPLED = 5_000


def cleaning_steps(config: "BuildConfig", folder: Path) -> Iterator[PipelineStep]:
    """Yield the chosen cleaners as steps.

    What they leave is normalised once more: its hash decides on duplicates and on the split, and a tag that is gone may
    have left a blank at the end.
    """
    names = [name for name in config.steps if name in CLEANERS]
    for name in names:
        if name == PERSONAL_DATA:
            yield Mask(name, config.personal_data, folder)
        else:
            yield Clean(name, make(name), chinese_only=CLEANERS[name].chinese_only, folder=folder)
    if "normalise" in names and names != ["normalise"]:
        yield Clean("normalise-again", make("normalise"), chinese_only=False, folder=folder)


def filtering_steps(
    config: "BuildConfig", folder: Path, resources: Path, read_sample: Callable[[], Iterable[Document]]
) -> Iterator[PipelineStep]:
    """Yield the chosen rules as steps, and those that files of the user's ask for.

    Args:
        config: The configuration.
        folder: Of the stage.
        resources: Folder for what is made once and read by every task, by the next try too.
        read_sample: Reads some documents of the corpus, for a score that has to know what is usual.
    """
    if config.exclude:
        yield Filter("exclude", read_exclusions(config.exclude, config.max_quarantined), folder)
    if config.decontaminate:
        path = resources / "evaluation.npz"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            build_index(config.decontaminate, config.decontamination).save(path)
        yield DropContaminated(Decontaminate(path), folder)
    for name in config.steps:
        if name in CHINESE_RULES or name in QUALITY_STEPS:
            yield Filter(name, _rule(name, config), folder)
    if SCORE in config.steps:
        yield Filter(SCORE, _score_rule(config, resources, read_sample), folder)


def _rule(name: str, config: "BuildConfig") -> Rule:
    """Return the rule of a step with the limits of the configuration."""
    if name == "length":
        return Length(min_chars=config.min_chars, max_chars=config.max_chars)
    if name == "han-ratio":
        return HanRatio(min_han_ratio=config.min_han_ratio, max_han_ratio_other=config.max_han_ratio_other)
    if name in QUALITY_STEPS:
        return QUALITY_STEPS[name].make(config.rules.quality)
    return getattr(config.rules, name.replace("-", "_"))


def _score_rule(config: "BuildConfig", resources: Path, read_sample: Callable[[], Iterable[Document]]) -> Rule:
    clean = Chain([name for name in config.steps if name in CLEANERS])

    def sample() -> Iterator[str]:
        """Cleaned as the corpus will be: else a score would learn what cleaning takes away."""
        texts = (document.text for document in read_sample() if is_scored(document.lang, config.score.langs))
        yield from map(clean, sample_texts(texts, _NUM_SAMPLED, seed=0))

    return make_score_rule(config.score, sample(), resources / "score.safetensors", clean=clean)
