"""What a finished run tells of itself, read from its metrics."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

type Curve = tuple[list[float], list[float]]
"""Steps and values."""
_MAX_POINTS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """The lines of ``metrics.jsonl``, by what they tell."""

    steps: Sequence[Mapping[str, Any]]
    """Lines of training steps."""
    validations: Sequence[Mapping[str, Any]]
    """Lines of validations, in order."""
    events: Sequence[Mapping[str, Any]]
    """Steps that went wrong, and decisions."""

    def curve(self, key: str) -> Curve:
        """Return the values of a key over the steps; a key that a line lacks, or that was not finite, is left out."""
        return thinned(_curve(self.steps, key))

    def curves(self, prefix: str) -> dict[str, Curve]:
        """Return a curve for each key of the training lines that begins with a prefix, named by what follows it."""
        names = dict.fromkeys(key for row in self.steps for key in row if key.startswith(prefix))
        return {name.removeprefix(prefix): self.curve(name) for name in names}

    def validation_curves(self, keep: Callable[[str], bool]) -> dict[str, Curve]:
        """Return a curve for each language or domain whose name (``zh``, ``zh/news``) is to be kept."""
        names = dict.fromkeys(key for row in self.validations for key in row if key.startswith("valid/"))
        return {name[6:]: _curve(self.validations, name) for name in names if keep(name[6:])}

    def middle(self, key: str) -> float | None:
        """Return the median of a key over all lines but the first, whose step warms everything up."""
        values = sorted(_curve(self.steps[1:] or self.steps, key)[1])
        return values[len(values) // 2] if values else None

    def highest(self, key: str) -> float | None:
        """Return the highest value of a key."""
        return max(_curve(self.steps, key)[1], default=None)


def read_facts(metrics: Path) -> RunFacts:
    """Read ``metrics.jsonl``."""
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line.strip()]
    events = [row for row in rows if "event" in row]
    validations = [row for row in rows if any(key.startswith("valid/") for key in row)]
    return RunFacts(steps=[row for row in rows if "loss" in row], validations=validations, events=events)


def _curve(rows: Iterable[Mapping[str, Any]], key: str) -> Curve:
    found = [(float(row["step"]), float(row[key])) for row in rows if row.get(key) is not None]
    return [x for x, _ in found], [y for _, y in found]


def thinned(curve: Curve, most: int = _MAX_POINTS) -> Curve:
    """Return a curve of at most so many points: means of neighbours, which keep its shape and its mean."""
    x, y = curve
    width = math.ceil(len(x) / most)
    if width <= 1:
        return curve
    starts = range(0, len(x), width)
    return [x[min(i + width, len(x)) - 1] for i in starts], [_mean(y[i : i + width]) for i in starts]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
