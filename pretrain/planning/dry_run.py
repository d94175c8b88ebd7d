"""A few real steps at the real layout, into a folder that is removed afterwards."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hanlm.config import to_plain
from hanlm.errors import HanLMError
from hanlm.launch import launch
from hanlm.publish import work_folder
from hanlm.tokens import Tokens
from pretrain.config import PretrainConfig, adapter_folder
from pretrain.families import ModelShape
from pretrain.layout import num_processes
from pretrain.planning.findings import Report
from pretrain.planning.inputs import planned_training

_FURTHER = 1.1
"""How far a measured peak may be above the formula's before that is worth a warning."""


def dry_config(config: PretrainConfig, steps: int) -> PretrainConfig:
    """Return the run cut down: few steps of every phase, micro-batches that fill the pipeline twice, no validation."""
    training = planned_training(config, device="cpu")
    micro_batches = min(training.num_micro_batches, 2 * config.pipeline_parallel)
    phases = tuple(
        replace(phase, steps=steps, seconds=None, include_earlier=False)
        for phase in config.resolved_phases(has_new_rows=True)
    )
    names = [f.name for f in fields(PretrainConfig)]
    plain: dict[str, Any] = {name: getattr(config, name) for name in names}
    changes: dict[str, Any] = {
        "out": config.out.with_name(config.out.name + ".doctor"),
        "phases": phases,
        "steps": None,
        "seconds": None,
        "new_rows_steps": 0,
        "trainable": "all",  # the phases say it
        "rows": "new",
        "group_lr": {},
        "global_batch_size": training.micro_batch_size * training.data_size * micro_batches,
        "micro_batch_size": training.micro_batch_size,
        "eval_tokens": 0,
        "log_every": 1,
        "save_every": 0,
        "save_seconds": 0.0,
        "snapshot_every": 0,
        "resume_step": None,
        "report_to": (),
        "overwrite": True,
        "launch": None,  # its processes are there already
        "nodes": 1,
        "gpus_per_node": None,
    }
    return PretrainConfig(**(plain | changes))


def dry_run(
    config: PretrainConfig, shape: ModelShape, tokens: list[Tokens], report: Report, *, steps: int, planned_bytes: int
) -> None:
    """Train a few steps, save and publish, and remove all of it; call it on every process."""
    dry = dry_config(config, steps)
    alone = config.tensor_parallel * config.pipeline_parallel == 1
    try:
        if num_processes() or alone:
            _here(dry, shape, tokens, report, planned_bytes)
        else:
            _in_processes(dry, report)
    finally:
        for folder in (dry.out, adapter_folder(dry.out), work_folder(dry.out), _logs(dry)):
            shutil.rmtree(folder, ignore_errors=True)


def _here(dry: PretrainConfig, shape: ModelShape, tokens: list[Tokens], report: Report, planned_bytes: int) -> None:
    """Train in this process, and measure its memory."""
    import torch

    from pretrain.megatron.backend import MegatronBackend
    from pretrain.planning.measure import peak_memory_of
    from pretrain.session import run_session

    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    try:
        with peak_memory_of(device) as peak:
            run_session(dry, MegatronBackend(dry, shape), tokens)
    except HanLMError as error:
        report.add("fault", "dry run", " ".join(str(error).split()))
        return
    except torch.OutOfMemoryError:
        report.add("fault", "dry run", "memory ran out; see `hanlm plan`, or lower --micro-batch-size or --seq-length")
        return
    text = f"peak of torch's memory {peak.num_bytes / 1e9:.3f} GB, {planned_bytes / 1e9:.3f} by the formula"
    if peak.num_bytes > _FURTHER * planned_bytes:
        report.add("warning", "dry run", f"{_speed(dry)}; {text}: leave more room than the formula says")
    else:
        report.ok("dry run", f"{_speed(dry)}; {text}")


def _in_processes(dry: PretrainConfig, report: Report) -> None:
    """Start as many processes on this machine as the layout needs."""
    processes = dry.tensor_parallel * dry.pipeline_parallel
    log = _logs(dry) / "pretrain"
    done = launch(("pretrain",), to_plain(dry), log, processes=processes)
    if done.exit_code:
        lines = log.with_suffix(".log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        report.add("fault", "dry run", f"{processes} processes ended with code {done.exit_code}: {(lines or [''])[-1]}")
        return
    report.ok("dry run", f"{_speed(dry)}; largest process {done.peak_rss_bytes / 1e9:.2f} GB resident on the host")


def _logs(dry: PretrainConfig) -> Path:
    return dry.out.with_name(dry.out.name + ".logs")


def _speed(dry: PretrainConfig) -> str:
    """Return what the metrics say of the last step."""
    file = work_folder(dry.out) / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    losses = [row for row in rows if "loss" in row]
    if not losses:
        return "done"
    return f"{len(losses)} steps, last loss {losses[-1]['loss']:.3f}, {losses[-1]['tokens_per_second']:,.0f} tokens/s"
