"""The step ``score``: drops what reads unlike the user's own good sample."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from corpora.facts import CHINESE, Facts, Reason, figure
from corpora.filters.classifier import ScoreModel, train_score
from corpora.filters.perplexity import PerplexityModel, train_perplexity
from corpora.filters.score_config import ScoreConfig
from corpora.filters.score_file import read_score_file
from corpora.filters.score_sample import quantile_score, split_sample
from hanlm.files import replace_text
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.text import base_language, normalise

type Model = ScoreModel | PerplexityModel


@dataclass(frozen=True, slots=True)
class FittedScore:
    """A model and the least score that is kept."""

    model: Model
    min_score: float

    def figures(self) -> dict[str, float]:
        """Return what the manifest and the report should say of it."""
        return {**self.model.figures, "min_score": self.min_score}


class ScoreRule:
    """Drops documents that score less than ``min_score``; the model is read once by each process.

    Args:
        path: The model's file.
        min_score: See ``FittedScore``.
        langs: Base languages that are scored; documents that declare none are scored too.
        figures: What was measured when it was fitted, for the manifest and the report.
    """

    name: ClassVar[str] = "score"

    def __init__(
        self,
        path: Path,
        min_score: float,
        langs: Sequence[str] = ("zh",),
        figures: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.path, self.min_score, self.langs, self.figures = path, min_score, tuple(langs), dict(figures)

    def __call__(self, facts: Facts, /) -> str | None:
        """Return ``low_score`` or None."""
        if not is_scored(facts.lang, self.langs) or (score := self._model.score(facts.text)) >= self.min_score:
            return None
        return Reason("low_score", f"score {figure(score)}, limit {figure(self.min_score)}")

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "min_score": self.min_score, "langs": self.langs, "figures": self.figures}

    @cached_property
    def _model(self) -> Model:
        return load_score(self.path)


def is_scored(lang: str, langs: Sequence[str]) -> bool:
    """Say whether documents that declare ``lang`` are scored; those that declare none are."""
    base = base_language(lang)
    return not base or base in langs or ("zh" in langs and base in CHINESE)


def load_score(path: Path) -> Model:
    """Return the model of either method that a file holds.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    _, header = read_score_file(path)
    return (PerplexityModel if header.get("kind") == PerplexityModel.kind else ScoreModel).load(path)


def fit_score(
    config: ScoreConfig, corpus_sample: Iterable[str], seed: int = 0, clean: Callable[[str], str] = normalise
) -> FittedScore:
    """Train the model that the configuration asks for and choose the least score.

    Args:
        config: With ``good`` documents.
        corpus_sample: Cleaned texts of the corpus in the languages scored, evenly drawn (``sample_texts`` draws so);
            read only where no bad documents are given or ``keep_fraction`` is.
        seed: The same one gives the same model.
        clean: The corpus's own cleaning, given to the good and bad documents too.

    Raises:
        InputError: If documents are missing, unreadable, too few, or cannot be told apart.
    """
    good = _texts(config.good, clean)
    sample = list(corpus_sample) if config.keep_fraction or not (config.bad or config.method == "perplexity") else []
    if config.method == "perplexity":
        model = train_perplexity(good, seed)
    else:
        model = train_score(good, _texts(config.bad, clean) if config.bad else sample, seed)
    return FittedScore(model, _least_score(config, model, sample, seed))


def make_score_rule(
    config: ScoreConfig,
    corpus_sample: Iterable[str],
    path: Path,
    seed: int = 0,
    clean: Callable[[str], str] = normalise,
) -> ScoreRule:
    """Fit the score, write its model to ``path``, and return the rule that reads it there; see ``fit_score``.

    Where an earlier call has written it, that one counts and nothing is read: tasks may be using it.
    """
    told = path.with_suffix(".json")
    if not told.is_file():
        fitted = fit_score(config, corpus_sample, seed, clean)
        path.parent.mkdir(parents=True, exist_ok=True)
        fitted.model.save(path)
        replace_text(told, json.dumps({"min_score": fitted.min_score, "figures": fitted.figures()}))
    fit = json.loads(told.read_text(encoding="utf-8"))
    return ScoreRule(path, fit["min_score"], config.langs, fit["figures"])


def _least_score(config: ScoreConfig, model: Model, sample: Sequence[str], seed: int) -> float:
    if config.min_score is not None:
        return config.min_score
    if config.keep_good_fraction is not None:
        return quantile_score(model.held_out_scores, config.keep_good_fraction)
    # Where the sample stood in for bad documents, those that were learned from score lower than the rest of the corpus.
    _, held_out = split_sample(sample, "corpus", seed)
    return quantile_score([model.score(text) for text in held_out], config.keep_fraction or 1)


def _texts(paths: Sequence[Path], clean: Callable[[str], str]) -> Iterator[str]:
    quarantine = Quarantine()
    for document in read_documents(paths, quarantine, split="all"):
        yield clean(document.text)
    quarantine.check()
