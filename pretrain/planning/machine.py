"""What every process of a run finds where it is, gathered and compared."""

import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hanlm.devices import resolve_dtype
from hanlm.publish import package_versions
from hanlm.tokens import Tokens
from pretrain.config import PretrainConfig
from pretrain.data.mixture import total_steps
from pretrain.families import ModelShape
from pretrain.layout import num_processes
from pretrain.planning.cost import checkpoint_bytes
from pretrain.planning.findings import Report
from pretrain.planning.inputs import planned_training
from pretrain.planning.layouts import RESERVED_GB
from pretrain.planning.memory import peak_memory
from pretrain.trainable.trained import trained_in_run

_NEARLY_FULL = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What one process says of itself."""

    rank: int
    host: str
    device: str
    """Name of its GPU, or cpu."""
    num_devices: int
    """GPUs that it sees."""
    local_rank: int
    free_bytes: int
    """Free memory of its GPU, or memory available on its host."""
    versions: Mapping[str, str]
    inputs: tuple[str, ...]
    """Hashes of the tokens' manifests and of the model's tokenizer, as this process reads them."""
    faults: tuple[str, ...]
    """What this process could not read."""


def facts_here(tokens: Sequence[Tokens], report: Report) -> Facts:
    """Return what this process finds."""
    import torch

    num_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    has_gpu = local_rank < num_devices
    return Facts(
        rank=int(os.environ.get("RANK", "0")),
        host=socket.gethostname(),
        device=torch.cuda.get_device_name(local_rank) if has_gpu else "cpu",
        num_devices=num_devices,
        local_rank=local_rank,
        free_bytes=torch.cuda.mem_get_info(local_rank)[0] if has_gpu else _available_bytes(),
        versions=package_versions(),
        inputs=tuple(f"{each.hash}/{each.tokenizer_hash}" for each in tokens),
        faults=tuple(f"{f.topic}: {f.text}" for f in report.findings if f.level == "fault"),
    )


def _available_bytes() -> int:
    """Return the memory that can still be had without swapping, where the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def compare(facts: Sequence[Facts], report: Report) -> None:
    """Compare all processes: versions, devices, and whether they read the same files."""
    first = facts[0]
    _compare_devices(facts, report)
    differing = {
        name: sorted({str(f.versions.get(name)) for f in facts})
        for name in sorted({name for f in facts for name in f.versions})
        if len({f.versions.get(name) for f in facts}) > 1
    }
    if differing:
        listed = "; ".join(f"{name} {' and '.join(found)}" for name, found in differing.items())
        text = f"the processes run different ones: {listed}; install the same lock on each host"
        report.add("fault", "versions", text)
    else:
        shown = ", ".join(f"{name} {first.versions.get(name)}" for name in ("torch", "megatron-core"))
        report.ok("versions", f"{shown}{', the same on all processes' if len(facts) > 1 else ''}")
    for other in facts[1:]:
        for fault in other.faults:
            if fault not in first.faults:
                report.add("fault", "process", f"{other.rank} on {other.host}: {fault}")
        if other.inputs != first.inputs and not other.faults:
            report.add(
                "fault",
                "process",
                f"{other.rank} on {other.host} reads other tokens than process 0 on {first.host}; put the same "
                "artifact "
                "on every host, or on storage that all of them see",
            )


def _compare_devices(facts: Sequence[Facts], report: Report) -> None:
    names = sorted({f.device for f in facts})
    for each in facts:
        if each.num_devices and each.local_rank >= each.num_devices:
            report.add(
                "fault",
                "devices",
                f"process {each.rank} on {each.host} is number {each.local_rank} there, but it sees {each.num_devices} "
                "GPUs; start no more processes on a host than it has GPUs",
            )
            return
    hosts = len({f.host for f in facts})
    text = f"{len(facts)} process{'es' * (len(facts) > 1)} on {hosts} host{'s' * (hosts > 1)}: {', '.join(names)}"
    if "cpu" in names and len(names) > 1:
        report.add("fault", "devices", f"{text}; some see no GPU: check their drivers and CUDA_VISIBLE_DEVICES")
    elif len(names) > 1:
        report.add("warning", "devices", f"{text}; all of them run at the pace of the slowest: use one kind")
    elif names == ["cpu"]:
        hint = "torch sees no GPU: right for tests and small models, else check the driver"
        report.add("warning", "devices", f"{text}; {hint}")
    else:
        report.ok("devices", text)


def look_at_memory(config: PretrainConfig, shape: ModelShape, facts: Sequence[Facts], report: Report) -> int:
    """Compare the memory that a process needs by the formula with what is free, and return it, in bytes."""
    import torch

    on_gpu = facts[0].device != "cpu"
    size = 2 if resolve_dtype(config.precision) == torch.bfloat16 else 4
    training = planned_training(config, device="cuda" if on_gpu else "cpu", bytes_per_value=size)
    phases = [replace(training, trained=trained) for trained in trained_in_run(config, shape)]
    memory = max((peak_memory(shape, phase) for phase in phases), key=lambda m: m.total)
    reserved = RESERVED_GB * 1e9 if on_gpu else 0.0
    planned = num_processes() or training.world_size
    for host in sorted({f.host for f in facts}):
        there = [f for f in facts if f.host == host]
        sharing = 1 if on_gpu else len(there) if num_processes() else planned  # processes on a CPU share its memory
        needed, free = memory.total * sharing + reserved, min(f.free_bytes for f in there)
        text = (
            f"{host}: {needed / 1e9:.2f} GB needed by the formula ({memory.static / 1e9:.2f} held, "
            f"{memory.activations / 1e9:.2f} activations, {(memory.logits + memory.workspace) / 1e9:.2f} more at the "
            "peak"
            f"{f', for each of {sharing} processes' if sharing > 1 else ''}), {free / 1e9:.2f} free"
        )
        if needed > free:
            report.add("fault", "memory", f"{text}; see `hanlm plan`, or lower --micro-batch-size or --seq-length")
        elif needed > _NEARLY_FULL * free:
            report.add("warning", "memory", f"{text}; that is close: a smaller --micro-batch-size is safer")
        else:
            report.ok("memory", text)
    return memory.total


def look_at_disk(config: PretrainConfig, shape: ModelShape, report: Report) -> None:
    """Compare the room that checkpoints and models take with what is free where OUT will be."""
    place = nearest(config.out)
    model = sum(file.stat().st_size for file in config.model.glob("*.safetensors"))
    steps = total_steps(config.resolved_phases(has_new_rows=True)) if config.snapshot_every else 0
    snapshots = (steps or 0) // config.snapshot_every if config.snapshot_every else 0
    checkpoint = max(checkpoint_bytes(shape, trained) for trained in trained_in_run(config, shape))
    needed = (config.keep_checkpoints + 1) * checkpoint + (snapshots + 1) * model
    free = shutil.disk_usage(place).free
    text = (
        f"{needed / 1e9:.2f} GB needed in {place} ({config.keep_checkpoints} + 1 checkpoints of "
        f"{checkpoint / 1e9:.2f} GB, {snapshots + 1} models of {model / 1e9:.2f} GB), {free / 1e9:.2f} free"
    )
    if needed > free:
        report.add("fault", "disk", f"{text}; free some, or lower --keep-checkpoints, or choose another --out")
    elif needed > _NEARLY_FULL * free:
        report.add("warning", "disk", f"{text}; that is close: free some")
    else:
        report.ok("disk", text)


def nearest(out: Path) -> Path:
    """Return the folder that OUT will be made in, or the nearest one above it that exists."""
    return next(folder for folder in out.absolute().parents if folder.is_dir())


def as_plain(facts: Facts) -> dict[str, Any]:
    """Return what can be sent between processes."""
    return {name: getattr(facts, name) for name in Facts.__dataclass_fields__}
