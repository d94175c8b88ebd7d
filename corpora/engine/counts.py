"""What the steps of a stage counted, summed over its tasks, out of the statistics that datatrove keeps of each."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DROPPED = "dropped_"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCounts:
    """What one step did to all documents."""

    kind: str
    """``read``, ``clean``, ``filter``, ``dedup``, ``split`` or ``write``."""
    name: str
    seconds: float
    """Summed over all tasks."""
    counts: Mapping[str, int]
    """Whatever the step counts."""

    @property
    def dropped(self) -> Counter[str]:
        """Documents that the step dropped, by reason."""
        return Counter({k.removeprefix(_DROPPED): n for k, n in self.counts.items() if k.startswith(_DROPPED) and n})


def stage_counts(folder: Path, num_tasks: int) -> tuple[StepCounts, ...]:
    """Return the counts of every step of the stage in ``folder``, in their order.

    datatrove's own sum is not used: of a single task it returns something that cannot be asked for totals.
    """
    tasks = [json.loads((folder / f"stats/{task:05}.json").read_text(encoding="utf-8")) for task in range(num_tasks)]
    return tuple(_sum(steps) for steps in zip(*tasks, strict=True))


def _sum(of_one_step: tuple[dict[str, Any], ...]) -> StepCounts:
    kind, _, name = of_one_step[0]["name"].partition(": ")
    counts: Counter[str] = Counter()
    for each in of_one_step:
        counts.update({label: int(_total(metric)) for label, metric in each["stats"].items()})
    return StepCounts(
        kind=kind, name=name, seconds=sum(_total(each["time_stats"]) for each in of_one_step), counts=counts
    )


def _total(metric: Any) -> float:
    """datatrove writes a plain number where a metric is nothing but its total."""
    return metric["total"] if isinstance(metric, dict) else metric
