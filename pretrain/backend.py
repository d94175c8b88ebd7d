"""What the session, the loop and the validation ask of a backend: megatron/ is one, accelerated/ the other."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch

from pretrain.arrival import Meeting
from pretrain.checkpoints.checkpoint import Checkpoint
from pretrain.checkpoints.pending import Writing
from pretrain.config import Phase
from pretrain.data.batches import Batch
from pretrain.flops import TokenFlops
from pretrain.parallel import Place


class TrainingEngine(Protocol):
    """Trains and scores this process's part of a model, one step at a time."""

    place: Place
    optimizer: Any
    """Has ``param_groups`` from the first phase on."""
    has_moments: bool
    """Whether the phase's optimizer has moments to save: not before its first step that counted."""
    special_ids: tuple[int, ...]
    """Labels that are not text: bos and eos."""

    def start_phase(self, phase: Phase, *, num_base_tokens: int) -> None:
        """Set up the trainable weights, the optimizer and the schedule of a phase."""
        ...

    def step(
        self, batches: Sequence[Batch], *, share: float, approve: Callable[[Sequence[torch.Tensor]], bool] | None = None
    ) -> tuple[float, float]:
        """Do one optimizer step; one whose gradient is not finite changes nothing.

        Args:
            batches: This process's microbatches.
            share: Share of the phase that is done when the step is.
            approve: Is told the losses of the microbatches (none off the last stage), as ``sample_losses`` gives
                them. A step that it refuses is left out too; all processes must come to the same answer.

        Returns:
            This process's mean loss in nats a token (0 off the last stage), and the norm of the gradient.
        """
        ...

    def cost(self) -> TokenFlops | None:
        """Return what a token costs in the current phase, where that is known."""
        ...

    def score(self, batches: Sequence[tuple[Batch, torch.Tensor]], num_groups: int) -> torch.Tensor:
        """Return the negative log-likelihood summed by group, in nats, fp64, over this process's microbatches."""
        ...

    def state(self, *, with_optimizer: bool) -> dict[str, Any]:
        """Return what a checkpoint holds, for the backend's ``prepare_save``."""
        ...

    def restore(self, checkpoint: Checkpoint, *, with_optimizer: bool) -> None:
        """Load a checkpoint into an engine whose phase has been started."""
        ...


class Backend(Protocol):
    """Trains one base with one library."""

    vocab_size: int
    """Rows of the base's embedding."""

    def processes(self, meeting: Meeting) -> AbstractContextManager[Place]:
        """Join the group of processes, and leave it at the end of the block."""
        ...

    def engine(self, place: Place) -> TrainingEngine:
        """Return the base, loaded and ready to be trained."""
        ...

    def prepare_save(self, tensors: dict[str, Any], folder: Path, place: Place, /, *, in_background: bool) -> Writing:
        """Return how this process writes its part of what ``TrainingEngine.state`` gave; called on every process."""
        ...

    def write_model(self, checkpoint: Path, folder: Path) -> None:
        """Write the weights of a checkpoint that was just saved as a model; called on the main process."""
        ...

    def publish_adapter(self, checkpoint: Path, phases: Sequence[Phase], *, num_base_tokens: int) -> None:
        """Publish what phases of `lora` learned; called on the main process."""
        ...
