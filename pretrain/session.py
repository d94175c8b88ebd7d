"""One run from processes to published model: puts the parts together."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from hanlm.artifact import fingerprint
from hanlm.config import to_plain
from hanlm.devices import resolve_dtype
from hanlm.errors import ArtifactError
from hanlm.log import Metrics, say
from hanlm.model_folder import num_base_tokens
from hanlm.publish import hold, work_folder
from hanlm.tokens import Tokens, TokenSet
from pretrain.arrival import Meeting
from pretrain.backend import Backend
from pretrain.checkpoints.checkpoint import CHECKPOINT_FORMAT, Checkpoint, Checkpoints
from pretrain.config import PretrainConfig, adapter_folder
from pretrain.data.batches import TrainingData
from pretrain.data.mixture import Blend, blend_steps, blends, steps_of_one_pass, total_steps
from pretrain.evaluate import Validation
from pretrain.export import export
from pretrain.loop import Run
from pretrain.parallel import Place
from pretrain.watching.documents import Documents
from pretrain.watching.report_page import write_report
from pretrain.watching.watch import Watch

_FREE = frozenset(
    {
        "out",
        "overwrite",
        "resume_step",
        "report_to",
        "log_every",
        "save_every",
        "save_seconds",
        "keep_checkpoints",
        "saving",
        "distributed_optimizer",
        "snapshot_every",
        "tensor_parallel",
        "pipeline_parallel",
        "virtual_pipeline",
        "sequence_parallel",
        "micro_batch_size",
        "recompute",
        "layers",
        "launch",
        "nodes",
        "gpus_per_node",
        "cluster",
        "forgetting",  # a checkpoint remembers what was decided
    }
)
"""What may differ between a checkpoint and the run that goes on from it."""
_PUBLISHED = "published"


def run_session(config: PretrainConfig, backend: Backend, tokens: list[Tokens]) -> Path:
    """Train and publish; every process of the layout calls it."""
    cluster = config.cluster
    meeting = Meeting(
        work=work_folder(config.out),
        inputs=(config.model, *config.tokens),
        start_seconds=cluster.start_seconds,
        step_seconds=cluster.step_seconds,
    )
    with (
        backend.processes(meeting) as place,
        hold(config.out) if place.is_main else nullcontext(),
    ):
        identity = _identity(config, place)
        checkpoints = _open_work(config, backend, place)
        found = _find_checkpoint(config, checkpoints, identity)
        run = _assemble(config, backend, tokens, place, checkpoints, identity)
        run.watch.metrics = metrics = _open_metrics(config, place, found)
        if found is not None:
            run.resume(found)
            if place.is_main:
                say(f"resuming after step {found.step}")
        try:
            last = run.train()
        finally:
            if metrics is not None:
                metrics.close()
        if place.is_main:
            _publish(config, backend, run, last)
        place.barrier()
    return config.out


def _identity(config: PretrainConfig, place: Place) -> dict[str, Any]:
    """Return what decides the numbers of a run: its configuration and the hashes of its inputs."""
    plain: dict[str, Any] = {k: v for k, v in to_plain(config).items() if k not in _FREE | {"model", "tokens"}}
    plain["precision"] = str(resolve_dtype(config.precision))
    plain["checkpoint_format"] = CHECKPOINT_FORMAT
    plain["faults"].pop("max_bad_steps")  # decides when a run ends, not what it learns
    if place.is_main:
        plain["inputs"] = [fingerprint(path) for path in (config.model, *config.tokens)]
    return plain


def _open_work(config: PretrainConfig, backend: Backend, place: Place) -> Checkpoints:
    """Prepare ``OUT.work``: nothing of a finished run, no half-written checkpoint, no old index."""
    work = work_folder(config.out)
    if place.is_main:
        if (work / _PUBLISHED).exists():
            shutil.rmtree(work / "checkpoints", ignore_errors=True)
            (work / _PUBLISHED).unlink()
        # Megatron's index of the data is written in place: one that a kill cut short would be taken for whole.
        shutil.rmtree(work / "index", ignore_errors=True)
    place.barrier()
    checkpoints = Checkpoints(
        work / "checkpoints", place, keep=config.keep_checkpoints, saving=config.saving, prepare=backend.prepare_save
    )
    checkpoints.clean()
    return checkpoints


def _find_checkpoint(
    config: PretrainConfig, checkpoints: Checkpoints, identity: Mapping[str, Any]
) -> Checkpoint | None:
    """Return the checkpoint to go on from.

    Raises:
        ArtifactError: If it belongs to another run, or is damaged.
    """
    found = checkpoints.find(config.resume_step)
    if found is None:
        return None
    theirs = found.state["fingerprint"]
    changed = [key for key in identity if identity[key] != theirs.get(key)]
    if not any(checkpoints.place.agree(len(changed))):  # only the main process has hashed the inputs
        checkpoints.go_back_to(found.step)
        return found
    if config.overwrite:
        if checkpoints.place.is_main:
            say(f"discarding checkpoints of a different run ({', '.join(changed)})")
        checkpoints.discard()
        return None
    raise ArtifactError(
        f"{found.path} belongs to a run that differs in {', '.join(changed)}; repeat that run's command to resume it, "
        f"pass --overwrite to start anew, or choose another --out."
    )


def _assemble(
    config: PretrainConfig,
    backend: Backend,
    tokens: list[Tokens],
    place: Place,
    checkpoints: Checkpoints,
    identity: Mapping[str, Any],
) -> Run:
    base_rows = num_base_tokens(config.model)
    has_new = base_rows is not None and base_rows < backend.vocab_size
    phases = config.resolved_phases(has_new_rows=has_new)
    micro_batch = config.micro_batch(data_size=place.data_size)
    data = TrainingData(
        _rounds(config, blends(tokens, config.mix), total_steps(phases)),
        place,
        seq_length=config.seq_length,
        global_batch_size=config.global_batch_size,
        micro_batch_size=micro_batch,
        eos_token_id=tokens[0].eos_token_id,
        seed=config.seed,
        cache=work_folder(config.out) / "index",
        isolate_documents=config.isolate_documents,
    )
    engine = backend.engine(place)
    documents = Documents(tokens, place, work_folder(config.out) / "index")
    engine.special_ids = documents.special_ids
    validation = Validation(
        tokens,
        num_tokens=config.eval_tokens,
        seq_length=config.seq_length,
        batch_size=micro_batch,
        full_length=config.fp8 is not None,
    )
    run = Run(
        config=config,
        phases=phases,
        engine=engine,
        data=data,
        validation=validation,
        checkpoints=checkpoints,
        fingerprint=identity,
        num_base_tokens=base_rows if has_new and base_rows is not None else 0,
        snapshot=lambda step: _snapshot(config, backend, run, step),
        watch=Watch(config, engine, data, documents, validation),
    )
    return run


def _rounds(
    config: PretrainConfig, blended: Sequence[Blend], num_steps: int | None
) -> list[tuple[Mapping[TokenSet, float], int]]:
    """Return the rounds of the data: the blends over the steps; by the clock, passes over a single one."""
    if len(blended) == 1 and num_steps is None:
        [one] = blended
        lengths = {"seq_length": config.seq_length, "global_batch_size": config.global_batch_size}
        return [(one.shares, steps_of_one_pass(one.shares, **lengths))]
    return [(b.shares, steps) for b, steps in zip(blended, blend_steps(blended, num_steps), strict=True)]


def _open_metrics(config: PretrainConfig, place: Place, found: Checkpoint | None) -> Metrics | None:
    if not place.is_main:
        return None
    resumed_after = found.step if found else -1
    return Metrics(work_folder(config.out), config.report_to, resumed_after=resumed_after, config=to_plain(config))


def _record(run: Run) -> dict[str, Any]:
    num_tokens = run.progress.step * run.config.global_batch_size * run.config.seq_length
    return {
        "counts": {"steps": run.progress.step, "tokens": num_tokens},
        "bits_per_byte": run.last_validation,
        "train_seconds": round(run.progress.elapsed_seconds, 3),
        "phases": [dataclasses.asdict(p) for p in run.phases],
    }


def _snapshot(config: PretrainConfig, backend: Backend, run: Run, step: int) -> Callable[[Path], None]:
    out = config.out.with_name(config.out.name + ".snapshots") / f"step-{step}"
    return partial(export, out=out, config=config, write=backend.write_model, record=_record(run), overwrite=True)


def _publish(config: PretrainConfig, backend: Backend, run: Run, checkpoint: Path) -> None:
    work = work_folder(config.out)
    record, metrics = _record(run), work / "metrics.jsonl"
    export(
        checkpoint,
        config.out,
        config,
        backend.write_model,
        record=record,
        metrics=metrics,
        report=lambda path: write_report(path, config, run.phases, metrics, record),
        overwrite=config.overwrite,
        keep_work=True,
    )
    if config.overwrite:
        shutil.rmtree(adapter_folder(config.out), ignore_errors=True)  # of the run that this one replaces
    if config.has_lora:
        backend.publish_adapter(checkpoint, run.phases, num_base_tokens=run.num_base_tokens)
    shutil.rmtree(work / "index", ignore_errors=True)
    (work / _PUBLISHED).touch()
