"""``hanlm sft``: instructions in, a LoRA adapter and a merged chat model out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hanlm.adapters import quiet_renaming
from hanlm.chat import TEMPLATE_FILE
from hanlm.devices import resolve_device, resolve_dtype
from hanlm.errors import ConfigError, Interrupted
from hanlm.log import Metrics, drop_metrics_after, progress, say
from hanlm.model_folder import check_model_folder, read_config
from hanlm.models import load_model
from hanlm.publish import Draft, hash_input, publish, refuse_existing, work_folder
from hanlm.quarantine import Quarantine, kept_quarantine
from hanlm.records import list_files
from hanlm.signals import stop_on_signal
from hanlm.tokenizing import tokenizer_hash
from sft.budget import Budget
from sft.chat_tokenizer import read_template, run_tokenizer
from sft.checkpoints import CHECKPOINTS, claim_work, latest_checkpoint
from sft.config import SftConfig
from sft.encode import Encoded, EncodedRow, encode, require_rows
from sft.formats import SUFFIXES, read_rows
from sft.merge import generation_settings, write_merged
from sft.order import training_order

_NUM_PROBES = 4
_PROBE_TOKENS = 256
_NUM_SCORED = 200
"""Held-out rows whose loss is computed, twice: enough to see a change, few enough to cost seconds on a laptop."""


def plan(config: SftConfig) -> list[str]:
    """Check the inputs cheaply and say what a run would do."""
    check_model_folder(config.model, trust_remote_code=config.trust_remote_code)
    generation_settings(config.model)  # written at the very end: what is wrong with them is told before the training
    _require_context(config)
    files = list_files(config.data, suffixes=SUFFIXES)
    if config.chat_template is not None:
        read_template(config.chat_template)
    reads = f"reads {len(files)} files of instructions ({sum(f.stat().st_size for f in files):,} bytes)"
    if config.out is None or config.preview:
        return [reads, f"shows {config.preview} of their rows as a model is trained on them, and trains nothing"]
    refuse_existing(config.out, config.overwrite)
    limits = [f"{config.epochs:g} epochs", *([f"{config.max_steps} steps"] if config.max_steps else [])]
    limits += [f"{config.seconds:g} seconds"] if config.seconds else []
    return [
        reads,
        f"trains LoRA of rank {config.lora_rank} on {config.model} for at most {' or '.join(limits)}",
        f"writes {config.out}/adapter and {config.out}/model; checkpoints in {work_folder(config.out)}",
        "add --preview 5 to see rendered rows and which tokens bear loss",
    ]


def sft(config: SftConfig) -> Path | None:
    """Fine-tune, merge, and publish; return OUT (None after a preview).

    Raises:
        InputError: If the model or the data cannot be used.
        ArtifactError: If OUT exists, or OUT.work is of another run.
        Interrupted: After a signal, when the state is saved.
    """
    plan(config)
    tokenizer = run_tokenizer(config)
    if config.out is None or config.preview:
        _show(config, tokenizer)
        return None
    paths = {"model": config.model, **{f"data-{i}": path for i, path in enumerate(config.data)}}
    # Hashed once for the run's three artifacts and its settings.
    inputs = {name: hash_input(path) for name, path in paths.items()}
    shared: dict[str, Any] = {
        "config": config,
        "inputs": inputs,
        "seed": config.seed,
        "tokenizer_hash": tokenizer_hash(config.model),
    }
    with (
        quiet_renaming(),
        publish(config.out, kind="sft", overwrite=config.overwrite, keep_work=config.keep_work, **shared) as draft,
    ):
        with kept_quarantine(draft) as quarantine:
            encoded = _encoded(config, tokenizer, quarantine)
            require_rows(encoded, quarantine, config.max_quarantined)
            draft.record(counts=encoded.counts(quarantine))
        settings = {**config.decisive(), "inputs": {name: given["hash"] for name, given in inputs.items()}}
        claim_work(draft.work, settings, overwrite=config.overwrite)
        model, losses = _train(config, tokenizer, encoded, draft)
        draft.record(losses=losses)
        shutil.copyfile(draft.work / "metrics.jsonl", draft.folder / "metrics.jsonl")
        _publish_parts(config, tokenizer, model, encoded, draft, shared)
    return config.out


def _require_context(config: SftConfig) -> None:
    context = read_config(config.model).get("max_position_embeddings")
    if isinstance(context, int) and config.max_length > context:
        raise ConfigError(f"max_length should be at most the model's context of {context}, got {config.max_length}.")


def _show(config: SftConfig, tokenizer: Any) -> None:
    from sft.preview import ShownQuarantine, show_rows

    quarantine = ShownQuarantine(config.preview)
    encoded = _encoded(config, tokenizer, quarantine)
    show_rows(encoded.train[: config.preview], tokenizer)
    require_rows(encoded, quarantine, config.max_quarantined)


def _encoded(config: SftConfig, tokenizer: Any, quarantine: Quarantine) -> Encoded:
    encoded = Encoded()
    rows = read_rows(config.data, quarantine, encoded.dropped)
    encode(rows, tokenizer, quarantine, encoded, max_length=config.max_length, valid_fraction=config.valid_fraction)
    say(encoded.summary(quarantine))
    return encoded


def _order(config: SftConfig, rows: Sequence[EncodedRow]) -> list[int]:
    """Return which rows the whole run trains, in order; at most ``max_steps`` steps of them."""
    a_step = config.batch_size * config.accumulation
    order = training_order(
        [len(row.ids) for row in rows],
        [row.source for row in rows],
        config.repeats(),
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    if config.max_steps is not None:
        order = order[: config.max_steps * a_step]
    if not order:
        raise ConfigError("nothing would be trained: raise --epochs or --repeat.")
    return order


def _train(config: SftConfig, tokenizer: Any, encoded: Encoded, draft: Draft) -> tuple[Any, dict[str, float]]:
    """Train or resume; return the model with its adapter and the losses on held-out answers."""
    from sft.trainer import build_trainer, make_watch

    checkpoints = draft.work / CHECKPOINTS
    resume = latest_checkpoint(checkpoints)
    done, spent = (resume.step, resume.seconds) if resume else (0, 0.0)
    order, a_step = _order(config, encoded.train), config.batch_size * config.accumulation
    if config.seconds is not None and spent >= config.seconds:
        order = order[: done * a_step]  # the clock had ended the training: nothing is left of it
    num_steps = -(-len(order) // a_step)
    budget = Budget(num_steps=num_steps, seconds=config.seconds, spent=spent)
    drop_metrics_after(draft.work / "metrics.jsonl", done)
    metrics = Metrics(draft.work, config.report_to, resumed_after=done if resume else None)
    if resume:
        say(f"resuming after step {done} of {num_steps}")
    with stop_on_signal() as stop, progress(1.0, "sft") as bar:
        trainer = build_trainer(
            config,
            _base(config),
            tokenizer,
            train=encoded.train,
            order=order,
            # Sorted by length for little padding; the choice among them is by hash already.
            valid=sorted(encoded.valid[:_NUM_SCORED], key=lambda row: len(row.ids)),
            budget=budget,
            watch=make_watch(budget, stop, metrics, bar),
            checkpoints=checkpoints,
        )
        trainer.train(resume_from_checkpoint=str(resume.path) if resume else None)
        metrics.close()
        if stop.requested:
            raise Interrupted(f"saved after step {trainer.state.global_step}; run the same command again to resume.")
    return trainer.model, _held_out_losses(trainer)


def _base(config: SftConfig) -> Any:
    """Return the base: float32 on CPU; on CUDA in the precision of the training, because it is frozen."""
    import torch

    on_cuda = resolve_device(config.device) == "cuda"
    dtype = resolve_dtype(config.precision) if on_cuda else torch.float32
    return load_model(config.model, dtype=dtype, trust_remote_code=config.trust_remote_code)


def _held_out_losses(trainer: Any) -> dict[str, float]:
    """Return nats per answer token on the held-out rows, of the base and of the adapted model."""
    if trainer.eval_dataset is None:
        return {}
    after = trainer.evaluate()["eval_loss"]
    with trainer.model.disable_adapter():
        before = trainer.evaluate()["eval_loss"]
    say(f"loss on held-out answers: {before:.3f} before, {after:.3f} after")
    return {"valid_before": before, "valid_after": after}


def _publish_parts(
    config: SftConfig,
    tokenizer: Any,
    model: Any,
    encoded: Encoded,
    draft: Draft,
    shared: dict[str, Any],
) -> None:
    """Write ``adapter/`` and ``model/`` as artifacts of their own within OUT."""
    from sft.adapter import save_adapter

    num_rows = len(encoded.train)
    with publish(draft.folder / "adapter", kind="adapter", **shared) as part:
        saved = save_adapter(model, part.folder, base=config.model, num_rows=num_rows)
        part.record(adapter=saved)
        (part.folder / TEMPLATE_FILE).write_text(tokenizer.chat_template, encoding="utf-8")
    probes = [row.ids[:_PROBE_TOKENS] for row in encoded.train[:_NUM_PROBES]]
    with publish(draft.folder / "model", kind="model", **shared) as part:
        check = write_merged(
            config.model,
            draft.folder / "adapter",
            part.folder,
            template=tokenizer.chat_template,
            probes=probes,
            rank=config.lora_rank,
            rows=num_rows,
            trust_remote_code=config.trust_remote_code,
        )
        part.record(merge=check)
    say(f"merge error {check['merge_error']:.1e} of an effect of {check['effect']:.2g} in the logits")
