"""The training itself: TRL's SFTTrainer over rows that are rendered, masked and ordered already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTConfig as TrlConfig
from trl import SFTTrainer

from hanlm.bits import IGNORE
from hanlm.devices import resolve_dtype
from hanlm.log import Metrics, Progress
from hanlm.signals import StopRequest
from sft.adapter import lora_settings
from sft.budget import Budget, lr_factor
from sft.checkpoints import seal_checkpoint
from sft.config import SftConfig
from sft.encode import EncodedRow

# ruff: noqa: ARG002 - the signatures of the callback are those of transformers


class _Watch(TrainerCallback):
    """What happens around the steps: progress, metrics, the clock, signals, sealed checkpoints."""

    def __init__(self, budget: Budget, stop: StopRequest, metrics: Metrics, bar: Progress) -> None:
        self.budget, self.stop, self.metrics, self.bar = budget, stop, metrics, bar
        self.note = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.budget.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        share = self.budget.share(state.global_step)
        self.bar.advance(share - self.bar.done, self.note)
        if self.stop.requested or share >= 1:  # saved at the end too: an interrupted merge must not cost the training
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.note = f"loss {logs['loss']:.3f}"
            self.metrics.write(state.global_step, {"seconds": round(self.budget.elapsed(), 2), **logs})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seal_checkpoint(Path(args.output_dir) / f"checkpoint-{state.global_step}", self.budget.elapsed())


class AnswerTrainer(SFTTrainer):
    """SFTTrainer whose learning rate follows a budget, and which on a CPU computes no logits but those of answers."""

    budget: Budget
    warmup: float
    trains_head: bool

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the learning rate follow the budget; never quite zero, so that the first and last step count."""
        total = num_training_steps + 1

        def factor(step: int) -> float:
            by_steps = (step + 1) / total
            return lr_factor(max(by_steps, self.budget.share(step)), self.warmup)

        chosen: Any = optimizer if optimizer is not None else self.optimizer
        self.lr_scheduler = LambdaLR(chosen, factor)
        return self.lr_scheduler

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the summed loss of the answers' tokens over their number, equal to TRL's.

        TRL's fused head skips prompts on GPUs only; on a CPU it scores every position, thrice (forward, recomputation,
        backward), which is most of the work where the vocabulary is large and the model small. So here the head is run
        on those positions alone at which some row of the batch has a label. Trained rows of the head need this on a GPU
        as well: TRL multiplies by the frozen weight.
        """
        if return_outputs or (self.args.device.type != "cpu" and not self.trains_head):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets_BT = torch.nn.functional.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORE)
        kept_K = (targets_BT != IGNORE).any(dim=0).nonzero()[:, 0]
        targets_BK = targets_BT[:, kept_K]
        model_inputs = {name: value for name, value in inputs.items() if name != "labels"}
        logits_BKV = model(**model_inputs, logits_to_keep=kept_K, use_cache=False).logits.float()
        total = torch.nn.functional.cross_entropy(
            logits_BKV.flatten(0, 1), targets_BK.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        scored_BK = targets_BK != IGNORE
        right = (logits_BKV.argmax(dim=-1) == targets_BK)[scored_BK].float().mean()
        self._metrics["train" if model.training else "eval"]["mean_token_accuracy"].append(right.item())
        if num_items_in_batch is None:
            return total / scored_BK.sum()
        across = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return total * across / num_items_in_batch


def build_trainer(
    config: SftConfig,
    model: Any,
    tokenizer: Any,
    *,
    train: Sequence[EncodedRow],
    order: Sequence[int],
    valid: Sequence[EncodedRow],
    budget: Budget,
    watch: TrainerCallback,
    checkpoints: Path,
) -> AnswerTrainer:
    """Return a trainer that shows the rows of ``train`` in ``order``, which lists all epochs."""
    trainer = AnswerTrainer(
        model=model,
        args=_arguments(config, checkpoints, budget.num_steps),
        train_dataset=_dataset(train).select(order),
        eval_dataset=_dataset(valid) if valid else None,
        processing_class=tokenizer,
        peft_config=lora_settings(config, model),
        callbacks=[watch],
    )
    trainer.budget, trainer.warmup = budget, config.warmup
    trainer.trains_head = config.train_embeddings != "none"
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    return trainer


def make_watch(budget: Budget, stop: StopRequest, metrics: Metrics, bar: Progress) -> TrainerCallback:
    """Return the callback that reports, stops in time and seals checkpoints."""
    return _Watch(budget, stop, metrics, bar)


def _arguments(config: SftConfig, checkpoints: Path, num_steps: int) -> TrlConfig:
    return TrlConfig(
        output_dir=str(checkpoints),
        max_steps=num_steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=resolve_dtype(config.precision) == torch.bfloat16,
        use_cpu=config.device == "cpu",
        gradient_checkpointing=config.gradient_checkpointing,
        max_length=None,
        train_sampling_strategy="sequential",
        dataloader_pin_memory=torch.cuda.is_available(),
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=config.log_steps,
        logging_nan_inf_filter=False,
        save_steps=config.save_steps,
        save_total_limit=2,
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
        data_seed=config.seed,
    )


def _dataset(rows: Sequence[EncodedRow]) -> Dataset:
    return Dataset.from_dict({"input_ids": [row.ids for row in rows], "labels": [row.labels for row in rows]})
