"""How far a run is: by steps, or by the clock, and what that means for the learning rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pretrain.config import Phase

UNITS = 1_000_000
"""Megatron's scheduler counts whole steps; a phase has this many of them, however long it is."""


@dataclass(kw_only=True, slots=True)
class Progress:
    """What a checkpoint remembers of the schedule."""

    step: int = 0
    """Optimizer steps done in the run."""
    phase: int = 0
    """Index of the current phase."""
    phase_step: int = 0
    """Steps done in it."""
    elapsed_seconds: float = 0.0
    """Seconds of training in the run."""
    phase_started_seconds: float = 0.0
    """``elapsed_seconds`` when the phase began."""

    def share(self, phase: Phase, *, ahead: int = 0) -> float:
        """Return the share of the current phase that is done, ``ahead`` steps from now, from 0 to 1.

        By the clock, steps to come are taken to last as long as those before; where there are none yet they
        count for a hundredth of the phase, so that the first step does not fall on a rate of 0.
        """
        if phase.steps is not None:
            return min(1.0, (self.phase_step + ahead) / phase.steps)
        assert phase.seconds is not None
        already = self.phase_started_seconds if phase.include_earlier else 0.0
        length = phase.seconds - already
        if length <= 0:
            return 1.0
        spent = self.elapsed_seconds - self.phase_started_seconds
        a_step = spent / self.phase_step if self.phase_step else 0.01 * length
        return min(1.0, (spent + ahead * a_step) / length)

    def done(self, seconds: float) -> None:
        """Count one step that took ``seconds``."""
        self.step += 1
        self.phase_step += 1
        self.elapsed_seconds += seconds

    def next_phase(self) -> None:
        """Begin the next phase."""
        self.phase += 1
        self.phase_step = 0
        self.phase_started_seconds = self.elapsed_seconds

    def overall(self, phases: Sequence[Phase]) -> float:
        """Return the share of the whole run that is done; phases in other units count by their number."""
        if self.phase >= len(phases):
            return 1.0
        if all(p.steps is not None for p in phases):
            return self.step / sum(p.steps or 0 for p in phases)
        last = phases[-1]
        if last.include_earlier and last.seconds is not None:
            return min(1.0, self.elapsed_seconds / last.seconds)
        return (self.phase + self.share(phases[self.phase])) / len(phases)


def build_scheduler(optimizer: Any, phase: Phase, *, min_lr_ratio: float, warmup_ratio: float, decay: float) -> Any:
    """Return Megatron's scheduler over one phase: linear warmup, then cosine.

    Weight decay depends on it too: only the scheduler applies the exemption of norms.
    """
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

    return OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=phase.lr,
        min_lr=phase.lr * min_lr_ratio,
        lr_warmup_steps=int(warmup_ratio * UNITS),
        lr_decay_steps=UNITS,
        lr_decay_style="cosine",
        start_wd=decay,
        end_wd=decay,
        wd_incr_steps=UNITS,
        wd_incr_style="constant",
    )


def set_rate(scheduler: Any, share: float) -> None:
    """Set the rate and the decay of the step that ends at this share of the phase."""
    scheduler.step(round(share * UNITS) - scheduler.num_steps)
