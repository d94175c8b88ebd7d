"""Processes and how the model is laid out over them."""

import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist

from hanlm.errors import HanLMError
from hanlm.megatron import megatron_import
from hanlm.nodes import this_node
from pretrain.arrival import Meeting, meet
from pretrain.layout import Layout, num_processes
from pretrain.megatron.cpu import without_cuda


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """This process's place in the layout."""

    layout: Layout
    device: torch.device
    rank: int
    world_size: int
    tensor_rank: int
    pipeline_rank: int
    data_rank: int
    data_size: int

    @classmethod
    def alone(cls) -> "Place":
        """Return the place of a process on a CPU that trains by itself, in no group."""
        return cls(
            layout=Layout(),
            device=torch.device("cpu"),
            rank=0,
            world_size=1,
            tensor_rank=0,
            pipeline_rank=0,
            data_rank=0,
            data_size=1,
        )

    @property
    def is_main(self) -> bool:
        """Whether this process writes, logs and publishes."""
        return self.rank == 0

    @property
    def is_first_stage(self) -> bool:
        """Whether this process holds the embedding."""
        return self.pipeline_rank == 0

    @property
    def is_last_stage(self) -> bool:
        """Whether this process holds the output layer and sees the loss."""
        return self.pipeline_rank == self.layout.pipeline - 1

    def layers(self, num_layers: int, chunk: int) -> range:
        """Return which of the model's layers a chunk of this process holds."""
        return self.layout.layers(num_layers, stage=self.pipeline_rank, chunk=chunk)

    def agree(self, *values: float) -> list[float]:
        """Return the largest of every value over all processes: one clock and one will for all."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.tolist()

    def share[T](self, value: T) -> list[T]:
        """Return what every process says, by rank; any value that can be pickled."""
        if self.world_size == 1:
            return [value]
        everyone: list[Any] = [None] * self.world_size
        dist.all_gather_object(everyone, value)
        return everyone

    def barrier(self) -> None:
        """Wait for every process."""
        if self.world_size > 1:
            dist.barrier()


class LostContact(HanLMError):  # noqa: N818  (what happened, not a fault of ours)
    """Another process ended, or its node was cut off; a new start goes on from the last checkpoint."""

    exit_code = 1


@contextmanager
def parallel(layout: Layout, *, seed: int, meeting: Meeting | None = None) -> Generator[Place]:
    """Join (or, outside torchrun, be) the group of processes and set up megatron-core's groups.

    Args:
        layout: How the model is spread.
        seed: Of megatron-core's generators.
        meeting: What the processes compare before they begin, and how long they wait for each other.

    Raises:
        ConfigError: If the processes cannot be divided as the layout says, or do not fit together.
        MissingNodes: If one did not come in time.
        LostContact: If another process ended, or could not be reached any more.
    """
    world_size = num_processes() or 1
    layout.data_size(world_size)
    with without_cuda(), process_group(meeting) as device:
        try:
            with in_contact():
                yield _place(layout, device, seed, meeting or Meeting())
        finally:
            _leave()


@contextmanager
def in_contact() -> Generator[None]:
    """Say in one sentence that another process was lost.

    Raises:
        LostContact: If another process ended, or could not be reached any more.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_loss_of_contact(error):
            raise
        raise LostContact(
            f"process {dist.get_rank()} on {this_node()} lost contact with another one ({_first_sentence(error)}); "
            "look at the other nodes' logs, and run the same command again to go on from the last checkpoint."
        ) from error


@contextmanager
def process_group(meeting: Meeting | None = None) -> Generator[torch.device]:
    """Join (or be) the group of processes for this block, if they have not joined already.

    Processes of one torchrun can join once: a second time they would find the addresses of the first in its store. Who
    wants several layouts one after another joins around all of them.
    """
    if dist.is_initialized():
        yield _device()
        return
    device = _join(num_processes() or 1, meeting or Meeting())
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _join(world_size: int, meeting: Meeting) -> torch.device:
    _mute()
    device = _device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if world_size > 1:
        store, rank, _ = meet(meeting)
        patience = timedelta(seconds=meeting.step_seconds)
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=patience)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    return device


def _is_loss_of_contact(error: RuntimeError) -> bool:
    """Tell errors of the network from others: torch's own have a class, those of gloo only their place of origin."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _first_sentence(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0].rpartition("] ")[2].partition(". ")[0].rstrip(".")


def _place(layout: Layout, device: torch.device, seed: int, meeting: Meeting) -> Place:
    with megatron_import():
        from megatron.core import parallel_state as mpu
        from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed
    minutes: Any = meeting.step_seconds / 60  # declared as a whole number, used as any
    mpu.initialize_model_parallel(
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        virtual_pipeline_model_parallel_size=layout.virtual if layout.virtual > 1 else None,
        distributed_timeout_minutes=minutes,
    )
    model_parallel_cuda_manual_seed(seed)
    return Place(
        layout=layout,
        device=device,
        rank=dist.get_rank(),
        world_size=dist.get_world_size(),
        tensor_rank=mpu.get_tensor_model_parallel_rank(),
        pipeline_rank=mpu.get_pipeline_model_parallel_rank(),
        data_rank=mpu.get_data_parallel_rank(),
        data_size=mpu.get_data_parallel_world_size(),
    )


def _leave() -> None:
    from megatron.core import parallel_state as mpu

    if mpu.model_parallel_is_initialized():
        mpu.destroy_model_parallel()


def _mute() -> None:
    """Silence notices of megatron-core and torch: deprecations of their own, and hints about CUDA."""
    logging.getLogger("megatron").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="megatron")
    warnings.filterwarnings("ignore", message="Please use DTensor")
