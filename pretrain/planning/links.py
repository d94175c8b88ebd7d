"""What lies between processes: clocks, all-reduce, and the file system they share; really used, and timed."""

import os
import time
from pathlib import Path
from typing import Any

from pretrain.config import PretrainConfig
from pretrain.families import ModelShape
from pretrain.planning.cost import checkpoint_bytes
from pretrain.planning.findings import Report
from pretrain.planning.machine import nearest
from pretrain.planning.parts import num_parameters
from pretrain.trainable.trained import trained_in_run

_REDUCED_VALUES = {"cuda": 2**26, "cpu": 2**21}
_ROUNDS = 3
_SLOW_GPU_LINK = 5e9
"""Bytes a second below which GPUs most likely talk over plain TCP."""
_CLOCK_SECONDS = 1.0
_FILE_BYTES = 2**25
_LONG_SAVE = 0.1
"""Share of the time between two checkpoints that writing one may take."""


def time_all_reduce(shape: ModelShape, place: Any, report: Report) -> None:
    """Sum a tensor over all processes a few times; call it on every process."""
    import torch
    from torch import distributed as dist

    values = torch.ones(_REDUCED_VALUES[place.device.type], device=place.device)
    dist.all_reduce(values)
    place.barrier()
    started = time.monotonic()
    for _ in range(_ROUNDS):
        dist.all_reduce(values)
    if place.device.type == "cuda":
        torch.cuda.synchronize(place.device)
    [seconds] = place.agree((time.monotonic() - started) / _ROUNDS)
    expected = float(place.world_size ** (_ROUNDS + 1))
    if abs(float(values[0]) / expected - 1) > 1e-6 or float(values.min()) != float(values.max()):
        wrong = f"summed to {float(values[0])}, expected {expected}"
        report.add("fault", "all-reduce", f"{wrong}; the network or a driver corrupts data: check them")
        return
    share = 2 * (place.world_size - 1) / place.world_size
    rate = share * values.nbytes / seconds
    gradients = num_parameters(shape, place.layout, 0) * 4 * 2 * (place.data_size - 1) / place.data_size
    text = (
        f"{rate / 1e9:.2f} GB/s sent by each of {place.world_size} processes; the gradients of a step would take "
        f"{gradients / rate:.3g} s"
    )
    if place.device.type == "cuda" and rate < _SLOW_GPU_LINK:
        report.add("warning", "all-reduce", f"{text}; slow for GPUs: look with NCCL_DEBUG=INFO whether NCCL uses TCP")
    else:
        report.ok("all-reduce", text)


def compare_clocks(place: Any, report: Report) -> None:
    """Ask every process for the time and allow for the way there and back; call it on every process."""
    import torch
    from torch import distributed as dist

    def send(value: float, to: int) -> None:
        dist.send(torch.tensor([value], dtype=torch.float64, device=place.device), to)

    def receive(source: int) -> float:
        value = torch.zeros(1, dtype=torch.float64, device=place.device)
        dist.recv(value, source)
        return float(value)

    worst, rank_of_worst = 0.0, 0
    for rank in range(1, place.world_size):
        if place.rank == rank:
            for _ in range(_ROUNDS):
                receive(0)
                send(time.time(), 0)
        elif place.is_main:
            offset = min((_ask(rank, send, receive) for _ in range(_ROUNDS)), key=lambda pair: pair[1])[0]
            if abs(offset) >= abs(worst):
                worst, rank_of_worst = offset, rank
    if not place.is_main:
        return
    text = f"process {rank_of_worst} differs most from process 0, by {worst * 1e3:+.1f} ms"
    if abs(worst) > _CLOCK_SECONDS:
        report.add("warning", "clocks", f"{text}; logs will be out of order: set the hosts' clocks (chrony, ntp)")
    else:
        report.ok("clocks", text)


def _ask(rank: int, send: Any, receive: Any) -> tuple[float, float]:
    """Return how far a process's clock is ahead, and how long the question took."""
    started = time.time()
    send(0.0, rank)
    theirs = receive(rank)
    ended = time.time()
    return theirs - (started + ended) / 2, ended - started


def time_files(config: PretrainConfig, shape: ModelShape, place: Any, report: Report) -> None:
    """Write and read a file where OUT will be, and see it from every process; call it on every process.

    Args:
        config: The run.
        shape: The model.
        place: This process; None where there is only one.
        report: Where to put what was found.
    """
    folder = nearest(config.out)
    file = folder / f".hanlm-doctor-{os.environ.get('TORCHELASTIC_RUN_ID', 'alone')}"
    rates: tuple[float, float] | None = None
    if place is None or place.is_main:
        try:
            rates = _write_and_read(file)
        except OSError as error:
            report.add("fault", "files", f"{folder} cannot be written to ({error.strerror}); choose another --out")
    if place is not None:
        place.barrier()
        missing = 0.0 if file.exists() else place.rank
        [somebody] = place.agree(missing)
        if somebody:
            report.add(
                "fault",
                "files",
                f"process {somebody:.0f} does not see what process 0 writes in {folder}; put --out on shared storage",
            )
        place.barrier()
    if rates is not None:
        file.unlink(missing_ok=True)
        _judge(config, shape, folder, rates, report)


def _write_and_read(file: Path) -> tuple[float, float]:
    """Return the rates of writing, flushed to the storage, and of reading past the cache, in bytes a second."""
    data = os.urandom(_FILE_BYTES)
    started = time.monotonic()
    with file.open("wb") as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())
    written = time.monotonic()
    with file.open("rb") as source:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        source.read()
    return _FILE_BYTES / (written - started), _FILE_BYTES / (time.monotonic() - written)


def _judge(config: PretrainConfig, shape: ModelShape, folder: Path, rates: tuple[float, float], report: Report) -> None:
    seconds = max(checkpoint_bytes(shape, trained) for trained in trained_in_run(config, shape)) / rates[0]
    text = (
        f"{folder}: written at {rates[0] / 1e6:,.0f} MB/s, read at {rates[1] / 1e6:,.0f} MB/s by one process; a "
        "checkpoint "
        f"would take {seconds:.3g} s at that rate"
    )
    if config.save_seconds and seconds > _LONG_SAVE * config.save_seconds:
        report.add(
            "warning",
            "files",
            f"{text}, of {config.save_seconds:g} s between two; raise --save-seconds or use faster storage",
        )
    else:
        report.ok("files", text)
