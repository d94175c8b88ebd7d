"""What ``hanlm corpus build`` is asked for."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from corpora.cleaning.personal_data import PersonalData
from corpora.cleaning.registry import CLEANERS, ordered
from corpora.dedup.config import DedupConfig
from corpora.engine.config import ExecutorName, SlurmConfig
from corpora.evaluation.config import Decontamination
from corpora.filters.score_config import ScoreConfig
from corpora.filters.settings import RuleSettings
from corpora.registry import SCORE, STEPS, Preset, chosen
from corpora.sources.source import Source
from hanlm.config import to_plain
from hanlm.errors import ConfigError
from hanlm.quarantine import MAX_QUARANTINED
from hanlm.records import TxtUnit
from hanlm.text import MIN_HAN_RATIO

TASK_BYTES: Final = 256 * 2**20
"""Default size of a task: minutes of work, and few enough files for 10 TB."""

KIND_STEPS: Final = {
    "exact": "duplicates",
    "near": "near-duplicates",
    "lines": "common-lines",
    "substrings": "common-passages",
}
"""The step that turns on each kind of copies of ``DedupConfig``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """Build a corpus out of raw text in any of the formats of the corpora page."""

    input: tuple[Path, ...] = ()
    """Files, folders, archives, corpora, and data sets of the hub as `hf:NAME`: text, JSON lines, Parquet, WARC,
    Wikipedia dumps, EPUB, HTML and more."""
    out: Path
    """Folder of the corpus."""
    sources: Annotated[tuple[Source, ...], Parameter(show=False)] = ()
    """More input as a list of `path, domain, lang, license, format, fields` and more (in a configuration file), read
    after `input`."""
    txt_unit: TxtUnit = "file"
    """What is one document in a text file: the file, each line, or what stands between blank lines."""
    domain: str | None = None
    """Domain of documents that name none of their own; without it they are of domain `default`."""
    lang: str = "zh"
    """Language of documents that name none of their own."""
    preset: Preset = "plain"
    """Steps to go through: `plain` keeps all that is Chinese text, `web` also drops what crawls are full of."""
    add: tuple[str, ...] = ()
    """Further steps by name; `--dry-run` lists those that run."""
    skip: tuple[str, ...] = ()
    """Steps to leave out."""
    min_chars: int = 1
    """Drop shorter documents, in characters after normalisation."""
    max_chars: int | None = None
    """Drop longer documents."""
    min_han_ratio: float = MIN_HAN_RATIO
    """Drop Chinese documents with a smaller share of Han among the characters other than white space."""
    max_han_ratio_other: float = 0.3
    """Drop documents of other languages with a larger share of Han; raise it for Japanese."""
    valid_fraction: float = 0.02
    """Share of documents held out, chosen by a hash of their group or content: the same ones in every run."""
    exclude: tuple[Path, ...] = ()
    """Texts that must not be in the corpus, such as evaluation files; compared by letters and digits
    alone."""
    decontaminate: tuple[Path, ...] = ()
    """Evaluation files: documents that hold their questions or answers are dropped, and listed."""
    index: Path | None = None
    """Folder that remembers what earlier corpora hold: their documents are dropped here, and this one's added."""
    tokenizer: Path | None = None
    """Folder with a tokenizer, for tokens per character in the report."""
    max_quarantined: float = MAX_QUARANTINED
    """Fail when a larger share of the records cannot be read."""
    workers: int | None = None
    """Tasks at a time; as many as there are processors by default. The result does not depend on it."""
    executor: ExecutorName = "local"
    """Where tasks run: `local` processes, or a `slurm` or `ray` cluster with a shared file system."""
    task_bytes: Annotated[int, Parameter(show=False)] = TASK_BYTES
    """Bytes of input that are one task, and one shard of the corpus."""
    rules: Annotated[RuleSettings, Parameter(show=False)] = field(default_factory=RuleSettings)
    """Limits of the filters (in a configuration file)."""
    score: Annotated[ScoreConfig, Parameter(show=False)] = field(default_factory=ScoreConfig)
    """What the step score learns from (in a configuration file)."""
    personal_data: Annotated[PersonalData, Parameter(show=False)] = field(default_factory=PersonalData)
    """What the step personal-data masks (in a configuration file)."""
    decontamination: Annotated[Decontamination, Parameter(show=False)] = field(default_factory=Decontamination)
    """When a document holds an evaluation text (in a configuration file)."""
    dedup: Annotated[DedupConfig, Parameter(show=False)] = field(default_factory=DedupConfig)
    """How copies are found (in a configuration file)."""
    slurm: Annotated[SlurmConfig, Parameter(show=False)] = field(default_factory=SlurmConfig)
    """What Slurm is asked for (in a configuration file)."""
    overwrite: bool = False
    """Replace a finished corpus."""

    def __post_init__(self) -> None:
        if not self.input and not self.sources:
            raise ConfigError("expected texts to build from, got none; pass --input PATH… or `sources` in a file.")
        for name in ("min_han_ratio", "max_han_ratio_other", "max_quarantined"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(f"expected --{name.replace('_', '-')} between 0 and 1, got {value}.")
        self._refuse_settings_without_effect()
        if not 0 <= self.valid_fraction < 1:
            raise ConfigError(f"expected --valid-fraction from 0 to below 1, got {self.valid_fraction}.")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"expected at least 1 worker, got {self.workers}.")
        if self.task_bytes < 1:
            raise ConfigError(f"expected task_bytes of at least 1, got {self.task_bytes}.")
        if self.min_chars < 1 or (self.max_chars is not None and self.max_chars < self.min_chars):
            raise ConfigError(f"expected 1 <= --min-chars <= --max-chars, got {self.min_chars} and {self.max_chars}.")

    def _refuse_settings_without_effect(self) -> None:
        """Raise ``ConfigError`` where keys of the configuration ask for what the chosen steps do not do."""
        if SCORE in self.steps and not self.score.good:
            raise ConfigError("the step score learns from good documents; name them as `score: {good: [PATH, …]}`.")
        for name, given in ((SCORE, self.score.good), ("word-list", self.rules.word_list.lists)):
            if given and name not in (*self.steps, *self.skip):
                raise ConfigError(
                    f"the configuration names files for the step {name}, which does not run; --add {name}."
                )
        ordered([name for name in self.steps if name in CLEANERS])  # refuses two that undo each other
        usual, chosen_kinds = DedupConfig(), self.dedup_config
        for kind, name in KIND_STEPS.items():
            if (asked := getattr(self.dedup, kind)) != getattr(usual, kind) and asked != getattr(chosen_kinds, kind):
                raise ConfigError(
                    f"dedup.{kind} is {str(asked).lower()} in the configuration, but the step {name} decides on it; "
                    f"{'--add' if asked else '--skip'} {name}."
                )
        object.__setattr__(self, "dedup", chosen_kinds)  # so that --dry-run and the manifest show what is done

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps to run, in their order."""
        return chosen(STEPS, self.preset, self.add, self.skip)

    @property
    def dedup_config(self) -> DedupConfig:
        """How copies are found, with the kinds that the chosen steps ask for."""
        names = set(self.steps)
        return replace(self.dedup, **{kind: name in names for kind, name in KIND_STEPS.items()})

    def decides_the_result(self) -> dict[str, Any]:
        """Return the settings that what is built depends on: a change of the others need not begin anew."""
        others = ("out", "workers", "executor", "slurm", "overwrite", "max_quarantined", "tokenizer")
        return {name: value for name, value in to_plain(self).items() if name not in others}

    def side_inputs(self) -> dict[str, tuple[Path, ...]]:
        """Return the files that decide, besides the texts, what becomes of documents; by what they are for."""
        steps, rules = self.steps, self.rules
        return {
            "exclude": self.exclude,
            "decontaminate": self.decontaminate,
            "word-list": rules.word_list.lists if "word-list" in steps else (),
            "spam-terms": (rules.spam.terms,) if "spam" in steps and rules.spam.terms else (),
            "score-good": self.score.good if SCORE in steps else (),
            "score-bad": self.score.bad if SCORE in steps else (),
        }

    def all_sources(self) -> tuple[Source, ...]:
        """Return ``input`` and ``sources`` as one list, the run's labels filled in."""
        parts = (*(Source(path=path) for path in self.input), *self.sources)
        return tuple(
            replace(
                part,
                domain=part.domain or self.domain,
                lang=part.lang or (None if part.set else self.lang),
                txt_unit=part.txt_unit or self.txt_unit,
            )
            for part in parts
        )
