"""Every layout that a model can have on so many GPUs: which of them fit, and which should be fastest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hanlm.errors import ConfigError
from pretrain.families import ModelShape
from pretrain.flops import token_flops
from pretrain.layout import Layout, check_layout, micro_batch_size
from pretrain.planning.memory import Memory, kept_of_chunk, peak_memory
from pretrain.planning.parts import Training
from pretrain.planning.speed import Machine, StepTime, step_time
from pretrain.trainable.trained import Trained

RESERVED_GB = 2.0
"""Memory of a GPU that no tensor can have: CUDA's context, NCCL's buffers, cuBLAS' workspace, fragments. Assumed."""
_MICRO_BATCHES = (1, 2, 4, 8, 16)
_WORTH_WHILE = 1.01
"""How much faster a layout has to be with the distributed optimizer before it is proposed with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """One layout, with what it takes."""

    training: Training
    memory: Memory
    time: StepTime
    tokens_per_second: float
    """Of all GPUs together."""
    mfu: float
    """Share of the GPUs' peak that the model's operations take."""
    fits: bool

    @property
    def flags(self) -> str:
        """Return the flags of `hanlm pretrain`."""
        layout = self.training.layout
        parts = [f"--micro-batch-size {self.training.micro_batch_size}"]
        if layout.pipeline > 1:
            parts.insert(0, f"--pipeline-parallel {layout.pipeline}")
        if layout.tensor > 1:
            parts.insert(0, f"--tensor-parallel {layout.tensor}")
        if layout.sequence_parallel:
            parts.insert(1, "--sequence-parallel")
        if self.training.shards_optimizer:
            parts.append("--distributed-optimizer")
        if self.training.recomputes:
            parts.append("--recompute")
        return " ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What was looked at."""

    fitting: tuple[Proposal, ...]
    """Fastest first; of each layout the best micro-batch."""
    too_large: tuple[Proposal, ...]
    """Smallest first; of each layout the smallest micro-batch."""
    impossible: dict[str, str]
    """Layouts that the model or the batch rule out, and why."""


def search(
    shape: ModelShape, machine: Machine, *, seq_length: int, global_batch_size: int, trained: Trained | None = None
) -> Search:
    """Look at every layout of tensor and pipeline parallelism, with the distributed optimizer and without.

    Args:
        shape: The model.
        machine: What it is trained on.
        seq_length: Tokens of a sequence.
        global_batch_size: Sequences a step.
        trained: What is trained; by default every weight.
    """
    fitting: list[Proposal] = []
    too_large: list[Proposal] = []
    impossible: dict[str, str] = {}
    for layout in _layouts(machine):
        name = f"tensor {layout.tensor} x pipeline {layout.pipeline}"
        data_size = machine.num_gpus // (layout.tensor * layout.pipeline)
        try:
            check_layout(shape, layout, seq_length=seq_length)
            micro_batch_size(global_batch_size, None, data_size=data_size)
        except ConfigError as error:
            impossible[name] = str(error)
            continue
        mine = global_batch_size // data_size
        tried = [
            propose(
                shape,
                machine,
                Training(
                    layout=layout,
                    data_size=data_size,
                    micro_batch_size=m,
                    seq_length=seq_length,
                    num_micro_batches=mine // m,
                    shards_optimizer=shards,
                    recomputes=recomputes,
                    trained=trained,
                ),
            )
            for shards in ((False, True) if data_size > 1 else (False,))
            for recomputes in (False, True)
            for m in _MICRO_BATCHES
            if mine % m == 0
        ]
        if kept := [p for p in tried if p.fits]:
            fitting.append(_best(kept))
        else:
            too_large.append(min(tried, key=lambda p: p.memory.total))
    fitting.sort(key=lambda p: -p.tokens_per_second)
    too_large.sort(key=lambda p: p.memory.total)
    return Search(fitting=tuple(fitting), too_large=tuple(too_large), impossible=impossible)


def _layouts(machine: Machine) -> Iterator[Layout]:
    """Give layouts whose tensor-parallel processes share a server, which their traffic needs (arXiv:2104.04473)."""
    for tensor in _divisors(machine.num_gpus):
        if machine.gpus_per_node % tensor:
            continue
        for pipeline in _divisors(machine.num_gpus // tensor):
            yield Layout(tensor=tensor, pipeline=pipeline, sequence_parallel=tensor > 1)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _best(proposals: Sequence[Proposal]) -> Proposal:
    """Return the fastest; without the distributed optimizer where that hardly slows it down."""
    fastest = max(proposals, key=lambda p: p.tokens_per_second)
    simple = [p for p in proposals if not p.training.shards_optimizer]
    best = max(simple, key=lambda p: p.tokens_per_second, default=fastest)
    return best if best.tokens_per_second * _WORTH_WHILE > fastest.tokens_per_second else fastest


def propose(shape: ModelShape, machine: Machine, training: Training) -> Proposal:
    """Return what one layout takes."""
    layout = training.layout
    memory = peak_memory(shape, training)
    whole = replace(training, recomputes=False)  # what a layer keeps is moved, even where it is kept for a moment only
    kept = max(kept_of_chunk(shape, whole, stage) for stage in range(layout.pipeline))
    time = step_time(shape, training, machine, kept_bytes=kept)
    speed = training.num_tokens * training.num_micro_batches * training.data_size / time.total
    per_gpu = speed / machine.num_gpus * token_flops(shape, training.seq_length, training.trained).training
    return Proposal(
        training=training,
        memory=memory,
        time=time,
        tokens_per_second=speed,
        mfu=per_gpu / (machine.gpu.bf16_tflops * 1e12),
        fits=memory.total <= (machine.gpu.memory_gb - RESERVED_GB) * 1e9,
    )


def reason(proposal: Proposal, machine: Machine) -> str:
    """Say in words why a layout stands where it does."""
    training = proposal.training
    layout = training.layout
    words: list[str] = []
    if layout.tensor == layout.pipeline == 1:
        words.append("the whole model on each GPU")
    if layout.tensor > 1:
        words.append(f"every layer over {layout.tensor} GPUs of a server")
    if layout.pipeline > 1:
        words.append(f"{layout.pipeline} stages with {training.num_micro_batches} micro-batches")
    if training.shards_optimizer:
        words.append(f"the optimizer's state over {training.data_size} GPUs")
    if training.recomputes:
        words.append("layers computed again in the backward pass, for memory")
    parts = {k: v for k, v in proposal.time.parts.items() if k not in ("matrix products", "norms and activations")}
    name, seconds = max(parts.items(), key=lambda item: item[1])
    network = layout.tensor * training.data_size > machine.gpus_per_node and name == "summing gradients"
    where = " over the network" if network else ""
    words.append(f"largest cost besides computing: {name}{where}, {seconds / proposal.time.total:.0%} of the step")
    return "; ".join(words)


def shortage(proposal: Proposal, machine: Machine) -> str:
    """Say in words what of a layout does not fit."""
    memory = proposal.memory
    parts = {
        "weights": memory.weights + memory.masters,
        "gradients": memory.gradients,
        "the optimizer's moments": memory.moments,
        "activations": memory.activations,
        "logits": memory.logits,
    }
    name, num_bytes = max(parts.items(), key=lambda item: item[1])
    return (
        f"needs {memory.total / 1e9:.0f} GB of {machine.gpu.memory_gb - RESERVED_GB:.0f}, most of it for {name} "
        f"({num_bytes / 1e9:.0f} GB)"
    )
