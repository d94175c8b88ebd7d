"""One model in training: Megatron's DDP, optimizer and schedules around it, one step at a time."""

import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from hanlm.megatron import megatron_import
from pretrain.config import Phase, PretrainConfig
from pretrain.data.batches import Batch
from pretrain.families import ModelShape
from pretrain.megatron.chunks import Chunks
from pretrain.megatron.loss import VocabPart, linear_cross_entropy
from pretrain.megatron.shards import adopt_masters, gather, gather_masters, shards
from pretrain.parallel import Place
from pretrain.sample_losses import sample_losses
from pretrain.schedule import build_scheduler, set_rate
from pretrain.trainable.blocks import new_layers
from pretrain.trainable.choice import block_parameters, set_trainable
from pretrain.trainable.new_rows import NewRows
from pretrain.trainable.param_groups import group_of
from pretrain.trainable.trained import trained_rows


class Engine:
    """Trains and scores this process's part of a model.

    ``masters`` are the exact weights: the parameters themselves in fp32, and in bf16 the fp32 values that the
    optimizer updates and the parameters are rounded from. Frozen parameters have them too, so that what a run
    does not train leaves it exactly as it came. In bf16 the distributed optimizer holds those of trained weights.
    """

    def __init__(
        self,
        model: Chunks,
        shape: ModelShape,
        place: Place,
        weights: Mapping[str, torch.Tensor],
        config: PretrainConfig,
    ) -> None:
        self.model, self.shape, self.place, self.config = model, shape, place, config
        self.masters: dict[str, torch.Tensor] = {}
        self.optimizer: Any = None
        self._ddp: list[Any] = []
        self._scheduler: Any = None
        self._new_rows: list[tuple[str, Any, NewRows]] = []
        """Of each chunk: what comes before its parameters' names, its model, and its new rows."""
        self._hooks: list[Any] = []
        self.has_moments = False
        """Whether the phase's optimizer has moments to save: not before its first step that counted."""
        self.special_ids: tuple[int, ...] = ()
        """Labels that are not text: bos and eos."""
        self._new_layers = new_layers(config.model, num_layers=shape.num_layers)
        for name, parameter in model.named_parameters():
            exact = weights[name].to(place.device, torch.float32)
            parameter.data.copy_(exact)
            self.masters[name] = parameter.data if parameter.dtype == torch.float32 else exact

    def start_phase(self, phase: Phase, *, num_base_tokens: int) -> None:
        """Set up the trainable weights, the optimizer and the schedule of a phase."""
        with megatron_import():
            from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
            from megatron.core.distributed.finalize_model_grads import finalize_model_grads
        self._forget_phase()
        self.has_moments = False
        for chunk in self.model.models:
            set_trainable(chunk, phase, self._new_layers)
        if trained_rows(phase, has_new=num_base_tokens > 0) == "new":
            self._separate_new_rows(num_base_tokens)
        elif self.place.is_first_stage and self.config.recompute:
            self._let_gradients_pass()
        settings = DistributedDataParallelConfig(
            grad_reduce_in_fp32=True, use_distributed_optimizer=self.config.distributed_optimizer
        )
        self._ddp = [DistributedDataParallel(self.model.config, settings, chunk) for chunk in self.model.models]
        self.model.config.finalize_model_grads_func = finalize_model_grads
        decay = self.config.weight_decay if phase.decays else 0.0
        self.optimizer = self._build_optimizer(phase, decay)
        self._scheduler = build_scheduler(
            self.optimizer,
            phase,
            min_lr_ratio=self.config.min_lr_ratio,
            warmup_ratio=self.config.warmup_ratio,
            decay=decay,
        )

    def _separate_new_rows(self, num_base_tokens: int) -> None:
        """Have the new rows train by themselves; their masters are rows of the tables' masters."""
        for prefix, chunk in self.model.items():
            rows = NewRows(chunk, self.place, num_base_tokens=num_base_tokens, num_tokens=self.shape.vocab_size)
            chunk.new_rows = rows
            self._new_rows.append((prefix, chunk, rows))
            for name, (table, span) in rows.tables().items():
                self.masters[prefix + name] = self.masters[prefix + table][span.begin : span.end]

    def _let_gradients_pass(self) -> None:
        """Have what is embedded want a gradient: of a layer that is computed again only what enters is looked at.

        Where nothing before it trains (LoRA without rows), the layer would get none at all, without a word.
        """
        embedding = self.model.models[0].embedding.word_embeddings
        self._hooks.append(embedding.register_forward_hook(lambda _module, _inputs, out: _wants_gradient(out)))

    @property
    def row_names(self) -> frozenset[str]:
        """The parameters that are rows of others: their masters are views of the others'."""
        return frozenset(prefix + name for prefix, _, rows in self._new_rows for name in rows.tables())

    def settle_masters(self) -> None:
        """Bring the exact new rows into the masters of their tables; call it on every process before using those.

        The distributed optimizer alone holds them in memory of their own.
        """
        if not self._new_rows or not self.config.distributed_optimizer:
            return
        parameters = dict(self.model.named_parameters())
        owned = shards(self.inner_optimizer, parameters)
        for name in sorted(self.row_names):
            shard = owned.get(name)
            values = None if shard is None else shard.main.detach()
            exact = gather(self.inner_optimizer, shard, values, parameters[name].shape, everywhere=True)
            assert exact is not None
            self.masters[name].copy_(exact)

    def _forget_phase(self) -> None:
        """Cut the hooks of the last phase's DDP, which would add every gradient once more, and its gradients."""
        if self._ddp:
            self.settle_masters()
            self.masters |= gather_masters(self.inner_optimizer, dict(self.model.named_parameters()), self.masters)
        for ddp in self._ddp:
            ddp.param_to_bucket_group.clear()
            ddp.grad_accs.clear()
        while self._hooks:
            self._hooks.pop().remove()
        for name in self.row_names:
            del self.masters[name]
        for _, chunk, rows in self._new_rows:
            rows.detach_from(chunk)
        self._new_rows.clear()
        for parameter in self.model.parameters():
            parameter.main_grad = None  # megatron-core sums that of a tied table over the stages if there is one
            parameter.main_param = None
        # Else a phase would begin beside the moments and gradients of the one before, which cycles keep alive.
        self._ddp.clear()
        self.optimizer = self._scheduler = None
        gc.collect()

    def _build_optimizer(self, phase: Phase, decay: float) -> Any:
        from megatron.core.optimizer import (
            OptimizerConfig,
            get_megatron_optimizer,
            get_standard_config_overrides,
        )
        from megatron.core.optimizer.optimizer import SEPARATE_GRAD_NORM_GROUPS

        is_bf16 = self.model.config.bf16
        settings = OptimizerConfig(
            optimizer="adam",
            lr=phase.lr,
            min_lr=phase.lr * self.config.min_lr_ratio,
            weight_decay=decay,
            adam_beta1=self.config.adam_beta1,
            adam_beta2=self.config.adam_beta2,
            clip_grad=self.config.clip_grad,
            bf16=is_bf16,
            params_dtype=torch.bfloat16 if is_bf16 else torch.float32,
            use_distributed_optimizer=self.config.distributed_optimizer,
        )
        overrides = get_standard_config_overrides(settings) | self._group_overrides(phase)
        optimizer: Any = get_megatron_optimizer(settings, self._ddp, overrides)
        for each in optimizer.chained_optimizers:
            # Which kinds of norm there are is asked of all ranks, but not by one without parameters: a dead lock.
            each._has_grad_norm_group_cache = dict.fromkeys(SEPARATE_GRAD_NORM_GROUPS, False)
        [inner] = optimizer.chained_optimizers
        adopt_masters(inner, dict(self.model.named_parameters()), self.masters, views=self.row_names)
        for group in optimizer.param_groups:
            if isinstance(optimizer.optimizer, torch.optim.AdamW):
                group.update(fused=True, foreach=False)  # 3 times as fast as the loop over parameters on a CPU
        return optimizer

    def _group_overrides(self, phase: Phase) -> dict[Any, Any]:
        """Return megatron-core's overrides for groups with rates of their own, named after them."""
        from megatron.core.optimizer.optimizer_config import ParamKey, ParamPredicate

        of_blocks = [block_parameters(chunk, self._new_layers) for chunk in self.model.models]
        found = {
            id(parameter): group_of(
                name, num_axes=parameter.ndim, is_new_block=parameter in blocks, is_tied=self.shape.is_tied
            )
            for chunk, blocks in zip(self.model.models, of_blocks, strict=True)
            for name, parameter in chunk.named_parameters()
        }

        def is_in(group: str) -> ParamPredicate:
            return ParamPredicate(name=group, fn=lambda parameter: found.get(id(parameter)) == group)

        return {
            ParamKey(predicate=is_in(group)): {
                "max_lr": rate,
                "min_lr": rate * self.config.min_lr_ratio,
                "name": group,
            }
            for group, rate in phase.group_lr.items()
        }

    @property
    def inner_optimizer(self) -> Any:
        """The one optimizer in megatron-core's chain of them; there is one from the first phase on."""
        return self.optimizer.chained_optimizers[0]

    def step(
        self, batches: Sequence[Batch], *, share: float, approve: Callable[[Sequence[torch.Tensor]], bool] | None = None
    ) -> tuple[float, float]:
        """Do one optimizer step, as ``TrainingEngine`` describes it."""
        for ddp in self._ddp:
            ddp.zero_grad_buffer()
        self.optimizer.zero_grad()
        losses = self._run(batches, self._train_microbatch, forward_only=False)
        for _, _, rows in self._new_rows:
            rows.sum_over_stages()
        set_rate(self._scheduler, share)
        norm = self._update(wanted=approve is None or approve(losses))
        if self.config.distributed_optimizer:
            for _, chunk, rows in self._new_rows:
                rows.write_back(chunk)  # megatron-core has moved them into its buffer
        return (float(torch.stack([row[0].float() for row in losses]).mean()) if losses else 0.0), norm

    def _update(self, *, wanted: bool) -> float:
        """Clip and apply the gradient where that is wanted and it is finite; return its norm."""
        [inner] = self.optimizer.chained_optimizers
        inner.prepare_grads()
        norm = float(inner.clip_grad_norm(self.config.clip_grad))
        if wanted and math.isfinite(norm):
            inner.step_with_ready_grads()
            self.has_moments = True
        return norm

    @torch.no_grad()
    def score(self, batches: Sequence[tuple[Batch, torch.Tensor]], num_groups: int) -> torch.Tensor:
        """Return the negative log-likelihood summed by group, in nats, fp64, over this process's microbatches.

        Args:
            batches: Microbatches, and for each position its group, or -1 where it is not scored.
            num_groups: How many groups there are.
        """
        totals = torch.zeros(num_groups, dtype=torch.float64, device=self.place.device)
        self.model.train(False)
        step = partial(self._score_microbatch, num_groups=num_groups)
        sums = self._run(self._in_turns(batches), step, forward_only=True)
        self.model.train()
        return torch.stack(sums).sum(dim=0) if sums else totals

    def _in_turns(self, batches: Sequence[tuple[Batch, torch.Tensor]]) -> Sequence[tuple[Batch, torch.Tensor]]:
        """Return as many microbatches as the schedule takes: the last again, with nothing in it that is scored."""
        missing = -len(batches) % self.place.layout.micro_batch_multiple
        idle = [(batch, torch.full_like(group_BT, -1)) for batch, group_BT in batches[-1:]]
        return [*batches, *(idle * missing)]

    def _run(self, batches: Sequence[Any], step: Any, *, forward_only: bool) -> list[torch.Tensor]:
        """Run microbatches through Megatron's schedule of this layout; the last stage returns what they gave."""
        from megatron.core.pipeline_parallel import get_forward_backward_func

        if not batches:
            return []
        first = batches[0] if isinstance(batches[0], Batch) else batches[0][0]
        results: list[torch.Tensor] = get_forward_backward_func()(
            forward_step_func=step,
            data_iterator=[iter(batches) for _ in self.model.models],
            model=list(self.model.models if forward_only else self._ddp),
            num_microbatches=len(batches),
            seq_length=first.input_BT.shape[1],
            micro_batch_size=first.input_BT.shape[0],
            forward_only=forward_only,
        )
        return results if self.place.is_last_stage else []

    def _train_microbatch(self, batches: Iterator[Batch], model: Any) -> tuple[Any, Any]:
        batch = next(batches)
        output = self._forward(model, batch, scale=1.0 / batch.label_BT.numel())
        return output, lambda pair: (pair[0], self._losses(batch, *pair))

    def _losses(self, batch: Batch, mean: torch.Tensor, nll_N: torch.Tensor) -> torch.Tensor:
        nll_TB = nll_N.view(batch.label_BT.T.shape)
        return sample_losses(mean, nll_TB.T, batch.label_BT, self.special_ids)

    def _score_microbatch(
        self, batches: Iterator[tuple[Batch, torch.Tensor]], model: Any, *, num_groups: int
    ) -> tuple[Any, Any]:
        batch, group_BT = next(batches)
        output = self._forward(model, batch, scale=0.0)

        def by_group(pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
            group_N = group_BT.T.reshape(-1)
            sums = torch.zeros(num_groups + 1, dtype=torch.float64, device=self.place.device)
            sums.index_add_(0, torch.where(group_N < 0, num_groups, group_N), pair[1].double())
            return pair[0], sums[:num_groups]

        return output, by_group

    def _forward(self, model: Any, batch: Batch, *, scale: float) -> Any:
        positions_1T = torch.arange(batch.input_BT.shape[1], device=self.place.device)[None]
        process = partial(self._loss, scale=scale)
        return model(batch.input_BT, positions_1T, batch.mask_B1TT, labels=batch.label_BT, output_processor=process)

    def _loss(
        self,
        *,
        hidden_states: torch.Tensor,
        output_layer: Any,
        output_weight: torch.Tensor | None,
        labels: torch.Tensor,
        scale: float,
        **_rest: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from megatron.core import parallel_state, tensor_parallel

        group: Any = parallel_state.get_tensor_model_parallel_group() if self.place.layout.tensor > 1 else None
        weight_VD = output_layer.weight if output_weight is None else output_weight
        new_rows = next((found for *_, rows in self._new_rows if (found := rows.of_output())), None)
        if self.place.layout.sequence_parallel:
            hidden_states = tensor_parallel.gather_from_sequence_parallel_region(hidden_states)
        elif group is not None:
            hidden_states = tensor_parallel.copy_to_tensor_model_parallel_region(hidden_states)
        rows, rank = weight_VD.shape[0], self.place.tensor_rank
        vocab = VocabPart(num_rows=rows, num_total=self.shape.vocab_size, rank=rank, group=group)
        hidden_ND = hidden_states.reshape(-1, hidden_states.shape[-1])
        labels_N = labels.T.reshape(-1)
        return linear_cross_entropy(hidden_ND, weight_VD, labels_N, scale=scale, vocab=vocab, rows=new_rows)


def _wants_gradient(output: torch.Tensor) -> torch.Tensor:
    return output.requires_grad_() if torch.is_grad_enabled() and output.is_leaf else output
