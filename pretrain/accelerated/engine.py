"""One model in training with accelerate: DDP, AdamW and the schedule around it, one step at a time."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from hanlm.devices import resolve_dtype
from pretrain.accelerated.loss import CausalLoss, has_plain_head
from pretrain.accelerated.model import Trainee
from pretrain.accelerated.storage import read_tensors
from pretrain.checkpoint import Checkpoint
from pretrain.config import Phase, PretrainConfig
from pretrain.data import Batch
from pretrain.parallel import Place
from pretrain.sample_losses import sample_losses
from pretrain.schedule import build_scheduler, set_rate

_TOKEN_ROWS = "trainable_tokens"  # in the names that PEFT gives to the rows it trains


class AccelerateEngine:
    """Trains and scores a model that every process holds whole.

    Parameters are fp32 and are updated as such; with bf16, matrices are multiplied in it (autocast). ``trained`` are
    those that a run may change at all, and what a checkpoint holds: all, or only the adapters.
    """

    def __init__(self, trainee: Trainee, accelerator: Any, place: Place, config: PretrainConfig) -> None:
        self.trainee, self.place, self.config = trainee, place, config
        self.trained: dict[str, torch.nn.Parameter] = {
            name: p for name, p in trainee.model.named_parameters() if p.requires_grad
        }
        self.optimizer: Any = None
        self._accelerator = accelerator
        self._dtype = resolve_dtype(config.precision)
        self._has_plain_head = has_plain_head(trainee.model)
        self._loss = self._new_loss()
        self._wrapped: Any = None
        self._scheduler: Any = None
        self._frozen_rows: dict[torch.nn.Parameter, int] = {}
        self.has_moments = False
        """Whether the phase's optimizer has moments to save: not before its first step that counted."""
        self.special_ids: tuple[int, ...] = ()
        """Labels that are not text: bos and eos."""

    def _new_loss(self) -> CausalLoss:
        return CausalLoss(self.trainee.model, dtype=self._dtype, has_plain_head=self._has_plain_head)

    def start_phase(self, phase: Phase, *, num_base_tokens: int) -> None:
        """Set up the trainable weights, the optimizer and the schedule of a phase."""
        self._wrapped = self.optimizer = None
        self.has_moments = False
        self._accelerator.free_memory()  # with the last phase's DDP go its hooks
        self._choose(phase, num_base_tokens)
        decay = self.config.weight_decay if phase.trainable == "all" else 0.0
        self._loss = self._new_loss()
        self._wrapped, self.optimizer = self._accelerator.prepare(self._loss, self._build_optimizer(phase))
        self._scheduler = build_scheduler(
            self.optimizer,
            phase,
            min_lr_ratio=self.config.min_lr_ratio,
            warmup_ratio=self.config.warmup_ratio,
            decay=decay,
        )

    def _choose(self, phase: Phase, num_base_tokens: int) -> None:
        """Mark what the phase trains; of whole tables the rows of base tokens are held still."""
        self._frozen_rows = {}
        chosen = set(self.trained.values())
        if phase.trainable == "new_rows" and self.trainee.adapters is not None:
            chosen = {p for name, p in self.trained.items() if _TOKEN_ROWS in name}
        elif phase.trainable != "all":
            model = self.trainee.model
            chosen = {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
            self._frozen_rows = dict.fromkeys(chosen, num_base_tokens) if phase.trainable == "new_rows" else {}
        for parameter in self.trained.values():
            parameter.requires_grad_(parameter in chosen)

    def _build_optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        """Return AdamW; as Megatron's, it decays matrices and spares vectors."""
        parameters = [p for p in self.trained.values() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "wd_mult": 1.0},
            {"params": [p for p in parameters if p.ndim <= 1], "wd_mult": 0.0},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=phase.lr,
            betas=(self.config.adam_beta1, self.config.adam_beta2),
            fused=True,
        )

    def cost(self) -> None:
        """Not known: families differ in what a token costs."""
        return

    def step(
        self, batches: Sequence[Batch], *, share: float, approve: Callable[[Sequence[torch.Tensor]], bool] | None = None
    ) -> tuple[float, float]:
        """Do one optimizer step, as ``TrainingEngine`` describes it."""
        self.optimizer.zero_grad()
        losses: list[torch.Tensor] = []
        for number, batch in enumerate(batches, start=1):
            # Gradients are summed over the processes once a step, with the last microbatch.
            is_last = number == len(batches)
            with nullcontext() if is_last else self._accelerator.no_sync(self._wrapped):
                loss, nll_N = self._wrapped(batch.input_BT, batch.label_BT, 1.0 / batch.label_BT.numel())
                self._accelerator.backward(loss / len(batches))
            nll_BT = nll_N.view(batch.label_BT.shape)
            losses.append(sample_losses(loss, nll_BT, batch.label_BT, self.special_ids))
        self._clear_frozen_gradients()
        set_rate(self._scheduler, share)
        norm = self._update(wanted=approve is None or approve(losses))
        return float(torch.stack([row[0].float() for row in losses]).mean()), norm

    def _clear_frozen_gradients(self) -> None:
        """With a zero gradient from the first step on and no decay AdamW adds exactly zero to these rows."""
        for parameter, rows in self._frozen_rows.items():
            if parameter.grad is not None:
                parameter.grad[:rows].zero_()

    def _update(self, *, wanted: bool) -> float:
        """Clip and apply the gradient where that is wanted and it is finite; return its norm."""
        trained = [p for p in self.trained.values() if p.requires_grad]
        norm = float(self._accelerator.clip_grad_norm_(trained, self.config.clip_grad))
        if wanted and math.isfinite(norm):
            self.optimizer.step()
            self.has_moments = True
        return norm

    @torch.no_grad()
    def score(self, batches: Sequence[tuple[Batch, torch.Tensor]], num_groups: int) -> torch.Tensor:
        """Return the negative log-likelihood summed by group, in nats, fp64, over this process's microbatches."""
        totals = torch.zeros(num_groups + 1, dtype=torch.float64, device=self.place.device)
        self._loss.eval()
        for batch, group_BT in batches:
            with self._accelerator.autocast():
                _, nll_N = self._loss(batch.input_BT, batch.label_BT, 0.0)
            group_N = group_BT.reshape(-1)
            totals.index_add_(0, torch.where(group_N < 0, num_groups, group_N), nll_N.double())
        self._loss.train()
        return totals[:num_groups]

    def state(self, *, with_optimizer: bool) -> dict[str, Any]:
        """Return the tensors of a checkpoint, by file and name."""
        state: dict[str, Any] = {"model": self.trained}
        if with_optimizer:
            state["optimizer"] = {
                f"{name}/{key}": value
                for name, parameter in self.trained.items()
                for key, value in self.optimizer.state.get(parameter, {}).items()
            }
        return state

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint, *, with_optimizer: bool) -> None:
        """Load a checkpoint; with the moments of a phase that has been started."""
        shapes = {name: p.shape for name, p in self.trained.items()}
        for name, tensor in read_tensors(checkpoint.path / "model.safetensors", shapes):
            self.trained[name].copy_(tensor)
        if not with_optimizer:
            return
        trained = {name: p for name, p in self.trained.items() if p.requires_grad}
        shapes = {f"{n}/{key}": p.shape for n, p in trained.items() for key in ("exp_avg", "exp_avg_sq")}
        shapes |= {f"{n}/step": torch.Size([]) for n in trained}
        for entry, tensor in read_tensors(checkpoint.path / "optimizer.safetensors", shapes):
            name, _, key = entry.rpartition("/")
            self.optimizer.state[trained[name]][key] = tensor.to(self.place.device)
