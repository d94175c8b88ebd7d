"""Steps that go wrong: a gradient that is not finite, a loss that jumps."""

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any, Literal

from hanlm.errors import InputError
from pretrain.watching.options import MIN_WINDOW, FaultOptions

type Fault = Literal["bad_gradient", "spike"]


class Faults:
    """Judges every step by its loss and its gradient.

    All its inputs are equal on all processes, so all come to the same judgement; what it remembers is part of a
    checkpoint, so a run that goes on judges like one that was never stopped.
    """

    def __init__(self, options: FaultOptions) -> None:
        self._options = options
        self._latest: deque[float] = deque(maxlen=options.spike_window)
        self._bad_in_a_row = 0
        self._is_spike = False

    def approve(self, loss: float) -> bool:
        """Say whether a step with this loss may change the weights; call ``settle`` afterwards."""
        limit = self.limit
        self._is_spike = limit is not None and math.isfinite(loss) and loss > limit
        return not (self._is_spike and self._options.skip_spikes)

    @property
    def limit(self) -> float | None:
        """The loss above which a step is a spike, or None while there are too few steps to tell."""
        if not self._options.spike_factor or len(self._latest) < MIN_WINDOW:
            return None
        return self._options.spike_factor * median(self._latest)

    def settle(self, loss: float, norm: float) -> tuple[Fault | None, bool]:
        """Count a step.

        Returns:
            What was wrong with it, and whether it was left out.
        """
        is_finite = math.isfinite(norm)
        fault: Fault | None = "spike" if self._is_spike else None
        skipped = self._is_spike and self._options.skip_spikes
        if not is_finite:
            fault, skipped = "bad_gradient", True
        if not skipped and math.isfinite(loss):
            self._latest.append(
                loss
            )  # a new level of the loss becomes the usual one; a step that was left out does not
        self._bad_in_a_row = self._bad_in_a_row + 1 if skipped else 0
        return fault, skipped

    def stop_if_hopeless(self, step: int, norm: float, names: str) -> None:
        """End a run that leaves out one step after another.

        Raises:
            InputError: If ``max_bad_steps`` steps in a row were left out; it names documents of the last one.
        """
        count = self._bad_in_a_row
        if count < self._options.max_bad_steps:
            return
        what = f"got {norm} in {count} steps in a row"
        if math.isfinite(norm):
            what = f"and losses without spikes, got {count} such steps in a row"
        raise InputError(
            f"expected finite gradients, {what} (up to step {step}, the last one on {names}); lower --lr, check these "
            "documents (metrics.jsonl names all), or raise --faults.max-bad-steps."
        )

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep."""
        return {"latest_losses": list(self._latest), "bad_in_a_row": self._bad_in_a_row}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._latest = deque(state["latest_losses"], maxlen=self._options.spike_window)
        self._bad_in_a_row = state["bad_in_a_row"]
