"""From the log-likelihood of each choice to accuracy, by group, with intervals and paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.candidates import Candidate
from eval.choice_tasks import ChoiceRow
from eval.statistics import Resampling, interval, resampled_ratios


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceScores:
    """What one model thinks of every choice."""

    log_likelihoods: list[NDArray[np.float64]]
    """Of each row, the summed log p(choice | prompt) of its choices, in nats."""
    chat: bool
    """Whether the rows were put through the model's chat template."""
    num_cut: int
    """Choices whose prompt did not fit into the context."""


def predictions(row_scores: Sequence[NDArray[np.float64]]) -> NDArray[np.intp]:
    """Return the likeliest choice of every row; the first of equals."""
    return np.array([int(scores.argmax()) for scores in row_scores])


def per_character(rows: Sequence[ChoiceRow], scores: ChoiceScores) -> list[NDArray[np.float64]]:
    """Return the log-likelihoods divided by the number of characters of each choice."""
    return [
        one / np.array([len(choice) for choice in row.choices])
        for row, one in zip(rows, scores.log_likelihoods, strict=True)
    ]


def compare_choices(
    rows: Sequence[ChoiceRow],
    candidates: Sequence[Candidate],
    scores: Sequence[ChoiceScores],
    resampling: Resampling,
) -> dict[str, Any]:
    """Return the ``models`` and ``differences`` of a report; a difference is ``b``'s accuracy minus ``a``'s."""
    labels = np.array([row.label for row in rows])
    correct_NM = np.stack([predictions(one.log_likelihoods) == labels for one in scores], axis=1).astype(np.float64)
    samples_RM = resampled_ratios(correct_NM, np.ones(len(rows)), resampling, "rows")
    models: list[dict[str, Any]] = [
        {
            "name": candidate.name,
            "path": str(candidate.path),
            "base": None if candidate.base is None else str(candidate.base),
            "tokenizer_hash": candidate.tokenizer_hash,
            "form": "chat" if one.chat else "plain",
            "num_cut": one.num_cut,
            "accuracy": float(correct_NM[:, m].mean()),
            "ci95": interval(samples_RM[:, m], len(rows)),
            "balanced_accuracy": _balanced(correct_NM[:, m], rows),
            "accuracy_per_char": float((predictions(per_character(rows, one)) == labels).mean()),
            "by_group": _by_group(correct_NM[:, m], rows, resampling),
        }
        for m, (candidate, one) in enumerate(zip(candidates, scores, strict=True))
    ]
    differences = [
        {
            "a": candidates[a].name,
            "b": candidates[b].name,
            "accuracy": models[b]["accuracy"] - models[a]["accuracy"],
            "ci95": interval(samples_RM[:, b] - samples_RM[:, a], len(rows)),
        }
        for a, b in combinations(range(len(candidates)), 2)
    ]
    return {"models": models, "differences": differences}


def describe_balance(rows: Sequence[ChoiceRow]) -> dict[str, float]:
    """Return what guessing reaches: at random, by always the same position, by always the same text within a group."""
    positions = np.bincount([row.label for row in rows])
    answers: dict[str, dict[str, int]] = {}
    for row in rows:
        counted = answers.setdefault(row.group, {})
        counted[row.choices[row.label]] = counted.get(row.choices[row.label], 0) + 1
    return {
        "chance": float(np.mean([1 / len(row.choices) for row in rows])),
        "same_position": float(positions.max() / len(rows)),
        "same_answer": sum(max(counted.values()) for counted in answers.values()) / len(rows),
    }


def _balanced(correct: NDArray[np.float64], rows: Sequence[ChoiceRow]) -> float:
    """Return the mean over the right answers' positions of the accuracy at each."""
    labels = np.array([row.label for row in rows])
    return float(np.mean([correct[labels == label].mean() for label in np.unique(labels)]))


def _by_group(
    correct: NDArray[np.float64], rows: Sequence[ChoiceRow], resampling: Resampling
) -> dict[str, dict[str, Any]]:
    groups = np.array([row.group for row in rows])
    figures: dict[str, dict[str, Any]] = {}
    for name in sorted({row.group for row in rows} - {""}):
        chosen = correct[groups == name]
        samples = resampled_ratios(chosen[:, None], np.ones(len(chosen)), resampling, f"group:{name}")
        figures[name] = {
            "accuracy": float(chosen.mean()),
            "num_rows": len(chosen),
            "ci95": interval(samples[:, 0], len(chosen)),
        }
    return figures
