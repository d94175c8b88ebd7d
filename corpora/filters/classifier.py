"""A classifier of good and bad text: logistic regression on hashed n-grams of characters."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from corpora.filters.score_file import read_score_file, write_score_file
from corpora.filters.score_kernels import NUM_FEATURES, NUM_ORDERS, feature_slots, sum_weights
from corpora.filters.score_sample import split_sample, visible_points
from hanlm.errors import InputError

_INVERSE_REGULARISATION = 10.0  # from 1 to 1000 the area under the curve moved by 0.001 on texts of 50 characters
_MIN_AUC = 0.6


@dataclass(frozen=True, slots=True)
class ScoreModel:
    """Gives a text the probability of being good, were good and bad equally frequent."""

    kind: ClassVar[str] = "classifier"

    weights: npt.NDArray[np.float32]
    """Of each slot of the hashed n-grams; a text's margin is the mean over its n-grams."""
    slope: float
    """From margins to log odds, with ``intercept``: set on held-out texts (Platt 1999)."""
    intercept: float
    figures: Mapping[str, float]
    """What was measured on held-out texts: ``auc``, its standard error, numbers of documents."""
    held_out_scores: tuple[float, ...] = ()
    """Scores of the good documents that were held out, in ascending order."""

    def score(self, text: str) -> float:
        """Return the probability; 0.0 for a text without visible characters."""
        points = visible_points(text)
        if not len(points):
            return 0.0
        log_odds = self.slope * _margin(points, self.weights) + self.intercept
        return 1 / (1 + math.exp(-min(max(log_odds, -700), 700)))

    def save(self, path: Path) -> None:
        """Write the model as a safetensors file, the numbers in its header."""
        numbers = {"slope": self.slope, "intercept": self.intercept, "figures": dict(self.figures)}
        header = {**numbers, "held_out_scores": list(self.held_out_scores)}
        write_score_file(path, self.kind, {"weights": self.weights}, header)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: If the file is missing, damaged, or another kind of model.
        """
        tensors, header = read_score_file(path, cls.kind)
        return cls(
            weights=tensors["weights"],
            slope=header["slope"],
            intercept=header["intercept"],
            figures=header["figures"],
            held_out_scores=tuple(header["held_out_scores"]),
        )


def train_score(good: Iterable[str], bad: Iterable[str], seed: int = 0) -> ScoreModel:
    """Learn to tell good texts from bad ones; a fifth of both is held out to calibrate and to check.

    Each n-gram's share of its text is divided by the root of its mean share, so that rare and frequent ones vary
    alike, and the regression sees all of them (a diagonal whitening). Single-threaded liblinear, one seed: the same
    texts give the same model, in whatever order they come.

    Raises:
        InputError: If there are too few texts, or the classifier cannot tell held-out good from held-out bad texts.
    """
    learn_good, check_good = split_sample(good, "good", seed)
    learn_bad, check_bad = split_sample(bad, "bad", seed)
    weights = _fit([*learn_good, *learn_bad], len(learn_good), seed)
    is_good = np.array([True] * len(check_good) + [False] * len(check_bad))
    margins = np.array([_margin(visible_points(text), weights) for text in [*check_good, *check_bad]])
    figures = _check(margins, is_good)
    figures |= {"num_good": len(learn_good) + len(check_good), "num_bad": len(learn_bad) + len(check_bad)}
    slope, intercept = _calibrate(margins, is_good)
    model = ScoreModel(weights, slope, intercept, figures)
    return replace(model, held_out_scores=tuple(sorted(model.score(text) for text in check_good)))


def _fit(texts: Sequence[str], num_good: int, seed: int) -> npt.NDArray[np.float32]:
    """Return the weights; texts from ``num_good`` on are bad."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    shares: Any = sparse.vstack([_shares(text) for text in texts], format="csr")
    num_texts = np.bincount(shares.indices, minlength=NUM_FEATURES)
    mean = np.asarray(shares.mean(axis=0)).ravel()
    # What a single text holds says nothing about others.
    scale = np.where(num_texts > 1, 1 / np.sqrt(mean + 1 / NUM_FEATURES), 0)
    scaled = shares @ sparse.diags(scale)
    spread = math.sqrt(scaled.multiply(scaled).sum() / len(texts))
    model: Any = LogisticRegression(
        C=_INVERSE_REGULARISATION, class_weight="balanced", solver="liblinear", random_state=seed, max_iter=1000
    )
    model.fit(scaled / spread, np.arange(len(texts)) < num_good)
    return (model.coef_[0] * scale / spread).astype(np.float32)


def _shares(text: str) -> Any:
    """Return each n-gram's share of a text's n-grams, as a sparse row."""
    from scipy import sparse

    points = visible_points(text)
    slots = np.empty(NUM_ORDERS * len(points), np.int32)
    feature_slots(points, slots)
    columns, counts = np.unique(slots, return_counts=True)
    return sparse.csr_matrix((counts / len(slots), columns, [0, len(columns)]), shape=(1, NUM_FEATURES))


def _margin(points: npt.NDArray[np.uint32], weights: npt.NDArray[np.float32]) -> float:
    return sum_weights(points, weights) / (NUM_ORDERS * len(points))


def _check(margins: npt.NDArray[np.float64], is_good: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return the area under the ROC curve and its standard error (Hanley and McNeil 1982)."""
    from sklearn.metrics import roc_auc_score

    auc = float(roc_auc_score(is_good, margins))
    num_good, num_bad = int(is_good.sum()), int((~is_good).sum())
    spread_good, spread_bad = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    variance = auc * (1 - auc) + (num_good - 1) * spread_good + (num_bad - 1) * spread_bad
    error = math.sqrt(max(variance, 0) / (num_good * num_bad))
    if auc < _MIN_AUC or auc - 1.96 * error <= 0.5:
        raise InputError(
            f"the good documents cannot be told from the others: on {num_good} good and {num_bad} others held out the "
            f"classifier is right for {auc:.2f} of the pairs (AUC; 0.5 is chance, standard error {error:.2f}); "
            "pass more or clearer good and bad documents, or turn the step score off."
        )
    return {"auc": auc, "auc_standard_error": error, "num_held_out": len(is_good)}


def _calibrate(margins: npt.NDArray[np.float64], is_good: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and intercept of the log odds, good and bad weighing the same."""
    from sklearn.linear_model import LogisticRegression

    spread = float(margins.std()) or 1.0
    model: Any = LogisticRegression(class_weight="balanced", solver="liblinear", intercept_scaling=10, C=10)
    model.fit(margins[:, None] / spread, is_good)
    return float(model.coef_[0, 0]) / spread, float(model.intercept_[0])
