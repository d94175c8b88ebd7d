"""One model in training with accelerate: DDP, AdamW and the schedule around it, one step at a time."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from hanlm.devices import resolve_dtype
from pretrain.accelerated.loss import CausalLoss, has_plain_head
from pretrain.accelerated.model import Trainee, is_update
from pretrain.accelerated.storage import read_tensors
from pretrain.checkpoints.checkpoint import Checkpoint
from pretrain.config import Phase, PretrainConfig, Rows
from pretrain.data.batches import Batch
from pretrain.parallel import Place
from pretrain.sample_losses import sample_losses
from pretrain.schedule import build_scheduler, set_rate
from pretrain.trainable.trained import trained_rows


class AccelerateEngine:
    """Trains and scores a model that every process holds whole.

    Parameters are fp32 and are updated as such; with bf16, matrices are multiplied in it (autocast). Where new rows of
    a table train without the old ones, they are a parameter on the table's memory, so that old rows have no moments.
    """

    def __init__(self, trainee: Trainee, accelerator: Any, place: Place, config: PretrainConfig) -> None:
        self.trainee, self.place, self.config = trainee, place, config
        self._in_run: dict[str, Rows] = {}
        """What the run's phases train, by name; of tables, which rows. It is what a checkpoint holds."""
        for phase in config.resolved_phases(has_new_rows=trainee.num_base_tokens > 0):
            now = self._trained_by(phase)
            self._in_run |= {name: "all" if self._in_run.get(name) == "all" else part for name, part in now.items()}
        self._trained: dict[str, torch.nn.Parameter] = {}
        """What the phase trains, by name."""
        self.optimizer: Any = None
        self._accelerator = accelerator
        self._dtype = resolve_dtype(config.precision)
        self._has_plain_head = has_plain_head(trainee.model)
        self._loss = self._new_loss()
        self._wrapped: Any = None
        self._scheduler: Any = None
        self.has_moments = False
        """Whether the phase's optimizer has moments to save: not before its first step that counted."""
        self.special_ids: tuple[int, ...] = ()
        """Labels that are not text: bos and eos."""

    def _new_loss(self) -> CausalLoss:
        return CausalLoss(self.trainee.model, dtype=self._dtype, has_plain_head=self._has_plain_head)

    def start_phase(self, phase: Phase, *, num_base_tokens: int) -> None:  # noqa: ARG002 - the trainee knows it
        """Set up the trainable weights, the optimizer and the schedule of a phase."""
        self._wrapped = self.optimizer = None
        self.has_moments = False
        self._accelerator.free_memory()  # with the last phase's DDP go its hooks
        trained = self._trained_by(phase)
        for name, parameter in self.trainee.model.named_parameters():
            parameter.requires_grad_(name in trained)  # for new rows alone their whole table gets a gradient
            parameter.grad = None
        self._loss = self._new_loss()
        self._wrapped = self._accelerator.prepare(self._loss)  # which may move weights: rows are found after it
        self._trained = {
            n: torch.nn.Parameter(t) if trained[n] == "new" else t for n, t in self._parts(trained).items()
        }
        self.optimizer = self._accelerator.prepare(self._build_optimizer(phase))
        decay = self.config.weight_decay if phase.decays else 0.0
        self._scheduler = build_scheduler(
            self.optimizer,
            phase,
            min_lr_ratio=self.config.min_lr_ratio,
            warmup_ratio=self.config.warmup_ratio,
            decay=decay,
        )

    def _trained_by(self, phase: Phase) -> dict[str, Rows]:
        """Return what a phase trains, by name; of tables, which rows."""
        rows = trained_rows(phase, has_new=self.trainee.num_base_tokens > 0)
        found: dict[str, Rows] = {}
        for name, _ in self.trainee.model.named_parameters():
            kinds = ["lora"] if is_update(name) else ["all", *["new_blocks"] * self.trainee.is_in_new_block(name)]
            part = rows if name in self.trainee.tables else "all" if phase.trainable in kinds else "none"
            if part != "none":
                found[name] = part
        return found

    def _parts(self, wanted: Mapping[str, Rows]) -> dict[str, Any]:
        """Return parameters by name, and views of the new rows of those of which only these are wanted."""
        first_new = self.trainee.num_base_tokens
        parameters = dict(self.trainee.model.named_parameters())
        return {n: parameters[n].data[first_new:] if part == "new" else parameters[n] for n, part in wanted.items()}

    def _build_optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        """Return AdamW; as Megatron's, it decays matrices and spares vectors."""
        groups: dict[tuple[str | None, bool], dict[str, Any]] = {}
        for name, parameter in self._trained.items():
            group, is_matrix = self.trainee.group(name), parameter.ndim > 1
            own: dict[str, Any] = {"params": [], "wd_mult": float(is_matrix)}
            if (rate := phase.group_lr.get(group or "")) is not None:
                own |= {"name": group, "max_lr": rate, "min_lr": rate * self.config.min_lr_ratio}
            groups.setdefault((own.get("name"), is_matrix), own)["params"].append(parameter)
        betas = (self.config.adam_beta1, self.config.adam_beta2)
        return torch.optim.AdamW(list(groups.values()), lr=phase.lr, betas=betas, fused=True)

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
        self._hand_over_gradients()
        set_rate(self._scheduler, share)
        norm = self._update(wanted=approve is None or approve(losses))
        return float(torch.stack([row[0].float() for row in losses]).mean()), norm

    def _hand_over_gradients(self) -> None:
        """Give new rows that train alone their part of their table's gradient."""
        tables = self.trainee.tables
        for name, trained in self._trained.items():
            if name in tables and trained is not tables[name]:
                whole = tables[name].grad
                trained.grad = None if whole is None else whole[self.trainee.num_base_tokens :]
                tables[name].grad = None

    def _update(self, *, wanted: bool) -> float:
        """Clip and apply the gradient where that is wanted and it is finite; return its norm."""
        trained = list(self._trained.values())
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
        state: dict[str, Any] = {"model": self._parts(self._in_run)}
        if with_optimizer:
            state["optimizer"] = {
                f"{name}/{key}": value
                for name, parameter in self._trained.items()
                for key, value in self.optimizer.state.get(parameter, {}).items()
            }
        return state

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint, *, with_optimizer: bool) -> None:
        """Load a checkpoint; with the moments of a phase that has been started."""
        changed = self._parts(self._in_run)
        shapes = {name: part.shape for name, part in changed.items()}
        for name, tensor in read_tensors(checkpoint.path / "model.safetensors", shapes):
            changed[name].copy_(tensor)
        if not with_optimizer:
            return
        trained = self._trained
        shapes = {f"{n}/{key}": p.shape for n, p in trained.items() for key in ("exp_avg", "exp_avg_sq")}
        shapes |= {f"{n}/step": torch.Size([]) for n in trained}
        for entry, tensor in read_tensors(checkpoint.path / "optimizer.safetensors", shapes):
            name, _, key = entry.rpartition("/")
            self.optimizer.state[trained[name]][key] = tensor.to(self.place.device)
