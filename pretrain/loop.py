"""The training loop: steps, validation, metrics, checkpoints, and stopping when asked."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from hanlm.errors import HanLMError, Interrupted
from hanlm.log import progress, say
from hanlm.signals import StopRequest, stop_on_signal
from pretrain.backend import TrainingEngine
from pretrain.checkpoints.checkpoint import Checkpoint, Checkpoints
from pretrain.config import Phase, PretrainConfig
from pretrain.data.batches import TrainingData
from pretrain.data.mixture import total_steps
from pretrain.evaluate import Validation
from pretrain.schedule import Progress
from pretrain.watching.watch import Watch


@dataclass(kw_only=True)
class Run:
    """A run and everything it needs."""

    config: PretrainConfig
    phases: Sequence[Phase]
    engine: TrainingEngine
    data: TrainingData
    validation: Validation
    checkpoints: Checkpoints
    fingerprint: Mapping[str, Any]
    """What must be equal for a checkpoint to belong to this run."""
    num_base_tokens: int
    snapshot: Callable[[int], Callable[[Path], None]]
    """Returns what will publish the checkpoint of this very moment, once it is written, as the snapshot of a step."""
    watch: Watch
    progress: Progress = dataclasses.field(default_factory=Progress)
    last_validation: dict[str, float] = dataclasses.field(default_factory=dict[str, float])
    _saved_step: int = -1
    _saved_at: float = dataclasses.field(default_factory=time.monotonic)
    _num_evals_done: int = 0

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint, as if the run had never stopped."""
        state = dict(checkpoint.state)
        self.progress = Progress(**state["progress"])
        self._num_evals_done = state["num_evals_done"]
        self.last_validation = dict(state["last_validation"])
        if self.progress.phase < len(self.phases):
            self._start_phase()
        self.watch.restore(state["watch"], self.progress.step, self.last_validation)
        if self.progress.phase < len(self.phases):
            self.data.require(state["cursor"], self.progress.step)
        self.engine.has_moments = state["has_moments"]
        self.engine.restore(checkpoint, with_optimizer=self.engine.has_moments)
        self._saved_step = checkpoint.step

    def train(self) -> Path:
        """Train to the end and return the last checkpoint; a save that is going on is published whatever ends the run.

        Raises:
            Interrupted: If a signal asked to stop; a checkpoint was saved.
        """
        try:
            self._train()
        except HanLMError:  # all processes have agreed on it, so that they can still speak with each other
            self.checkpoints.wait()
            raise
        if self._saved_step != self.progress.step:
            self._save()
        self.checkpoints.wait()
        return self.checkpoints.path(self.progress.step)

    def _train(self) -> None:
        step, seconds = self.progress.step, self.progress.elapsed_seconds
        with stop_on_signal() as stop, progress(1.0, "pretraining", done=self._share()) as bar:
            while self.progress.phase < len(self.phases):
                if self.progress.phase_step == 0:
                    self._start_phase()
                if self.progress.step == 0:
                    self._validate_if_due()
                before, phase = self._share(), self.phases[self.progress.phase]
                loss, should_stop = self._step(phase, stop)
                num_tokens = (self.progress.step - step) * self.config.global_batch_size * self.config.seq_length
                speed = num_tokens / (self.progress.elapsed_seconds - seconds)
                of = phase.trainable.replace("_", " ")
                note = f"step {self.progress.step} of {of}, loss {loss:.3f}, {self.watch.note(speed)}"
                bar.advance(self._share() - before, note)
                self._validate_if_due()
                self.checkpoints.poll()
                if self.progress.phase < len(self.phases):
                    self._save_or_stop(should_stop)

    def _share(self) -> float:
        return self.progress.overall(self.phases)

    def _start_phase(self) -> None:
        phase = self.phases[self.progress.phase]
        self.engine.start_phase(phase, num_base_tokens=self.num_base_tokens)
        self.watch.start_phase()

    def _save_or_stop(self, should_stop: bool) -> None:
        if not should_stop:
            self._save_if_due()
            return
        self._save()
        self.checkpoints.wait()
        same = "the same command" if self.config.resume_step is None else "the command without --resume-step"
        raise Interrupted(f"stopped after step {self.progress.step}, which is saved; run {same} again to resume.")

    def _step(self, phase: Phase, stop: StopRequest) -> tuple[float, bool]:
        """Do one step; all processes agree on the loss, the clock and whether to stop."""
        started = time.monotonic()
        place, step = self.engine.place, self.progress.step
        batches = self.data.step(step)
        approve = partial(self.watch.approve, step)
        _, norm = self.engine.step(batches, share=self.progress.share(phase, ahead=1), approve=approve)
        shared = [float(stop.requested), time.monotonic() - started if place.is_main else 0.0]
        if place.world_size > 1:
            tensor = torch.tensor(shared, dtype=torch.float64, device=place.device)
            dist.all_reduce(tensor)
            shared = tensor.tolist()
        stops, seconds = shared
        self.progress.done(seconds)
        loss = self.watch.settle(self.progress.step, norm, seconds)
        self._log_step(loss, norm)
        if self.progress.share(phase) >= 1.0:
            self.progress.next_phase()
        return loss, stops > 0

    def _log_step(self, loss: float, norm: float) -> None:
        step = self.progress.step
        if not (step == 1 or step % self.config.log_every == 0):
            return
        total = total_steps(self.phases)
        elapsed = self.progress.elapsed_seconds
        line = self.watch.line(
            num_left=None if total is None else total - step, share=self._share(), elapsed_seconds=elapsed
        )
        values = {
            "loss": loss,
            "grad_norm": norm,
            "phase": self.progress.phase,
            "tokens": step * self.config.global_batch_size * self.config.seq_length,
            "elapsed_seconds": elapsed,
        }
        if self.watch.metrics is not None:
            self.watch.metrics.write(step, values | line)

    def _validate_if_due(self) -> None:
        """Validate before the first step and whenever another equal share of the run is done."""
        if not self.validation:
            return
        due = 1 + int(self._share() * self.config.num_evals + 1e-9)
        if self._num_evals_done >= due:
            return
        self._num_evals_done = due
        started = time.monotonic()
        self.last_validation = self.validation.run(self.engine)
        if self.watch.metrics is not None:
            elapsed = {"elapsed_seconds": self.progress.elapsed_seconds}
            self.watch.metrics.write(self.progress.step, self.last_validation | elapsed)
            bits = ", ".join(f"{n[6:]} {v:.3f}" for n, v in self.last_validation.items() if n.count("/") == 1)
            say(f"step {self.progress.step}: bits per byte {bits} (in {time.monotonic() - started:.1f} s)")
        if (error := self.watch.validated(self.progress.step, self.last_validation)) is not None:
            self._save()
            raise error

    def _save_if_due(self) -> None:
        step, config = self.progress.step, self.config
        is_snapshot = bool(config.snapshot_every) and step % config.snapshot_every == 0
        is_due = bool(config.save_every) and step % config.save_every == 0
        if config.save_seconds:
            [waited] = self.engine.place.agree(time.monotonic() - self._saved_at)
            is_due = is_due or waited >= config.save_seconds
        if is_due or is_snapshot:
            self._save(then=self.snapshot(step) if is_snapshot else None)

    def _save(self, *, then: Callable[[Path], None] | None = None) -> None:
        state: dict[str, Any] = {
            # Between two phases there is no optimizer to keep: the next one begins with a fresh one. Nor is there
            # while all steps of a phase were left out.
            "has_moments": self.progress.phase_step > 0 and self.engine.has_moments,
            "progress": dataclasses.asdict(self.progress),
            "num_evals_done": self._num_evals_done,
            "last_validation": self.last_validation,
            "watch": self.watch.state(),
            "fingerprint": dict(self.fingerprint),
            "cursor": self.data.cursor(self.progress.step),
        }
        tensors = self.engine.state(with_optimizer=state["has_moments"])
        self.checkpoints.save(tensors, step=self.progress.step, state=state, then=then)
        self._saved_step, self._saved_at = self.progress.step, time.monotonic()
