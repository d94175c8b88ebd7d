"""How long a step should take: a roofline with assumptions that are named, none of them measured on a GPU by us."""

from dataclasses import dataclass

from pretrain.families import ModelShape
from pretrain.flops import token_flops
from pretrain.planning.communication import step_traffic
from pretrain.planning.gpus import Gpu
from pretrain.planning.parts import Training, trained_parameters

EFFICIENCY = 0.55
"""Share of the peak that large matrix products reach. Assumed."""
RATE = 0.75
"""Share of a link's or a memory's rate that is reached. Assumed."""
LATENCY_SECONDS = 20e-6
"""Of one collective operation inside a server. Assumed."""
_ELEMENTWISE = 5
"""Times that what autograd keeps is moved by kernels that are not fused, forward and backward. Assumed."""
_OPTIMIZER_BYTES = 32
"""Read and written for each parameter by AdamW in mixed precision: gradient, two moments, master, weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Servers of GPUs."""

    gpu: Gpu
    num_gpus: int
    gpus_per_node: int
    efficiency: float = EFFICIENCY


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """Seconds of one optimizer step, by what they are spent on; nothing is taken to overlap."""

    products: float
    """Matrix products."""
    elementwise: float
    """Norms, rotation, activations, losses: bound by memory."""
    optimizer: float
    tensor: float
    """Traffic of tensor parallelism."""
    pipeline: float
    """Traffic between stages."""
    data: float
    """Gradients between data-parallel processes."""
    bubble: float
    """Waiting of the stages for each other."""

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by what they are spent on, in words."""
        return {
            "matrix products": self.products,
            "norms and activations": self.elementwise,
            "the optimizer": self.optimizer,
            "tensor-parallel traffic": self.tensor,
            "traffic between stages": self.pipeline,
            "summing gradients": self.data,
            "the pipeline's bubble": self.bubble,
        }


def step_time(shape: ModelShape, training: Training, machine: Machine, *, kept_bytes: int) -> StepTime:
    """Return an estimate of a step.

    Args:
        shape: The model.
        training: The layout.
        machine: What it runs on.
        kept_bytes: What one micro-batch keeps of this stage's layers for the backward pass.

    The bubble is (stages - 1) / micro-batches of the work, and of that one part in so many as there are stretches of
    layers on a stage (Narayanan et al. 2021, arXiv:2104.04473, section 2.2).
    """
    layout, gpu, count = training.layout, machine.gpu, training.num_micro_batches
    tokens = training.num_tokens * count
    flops = token_flops(shape, training.seq_length, training.trained)
    executed = flops.executed(recomputes=training.recomputes) * tokens
    products = executed / (layout.tensor * layout.pipeline) / (gpu.bf16_tflops * 1e12 * machine.efficiency)
    elementwise = _ELEMENTWISE * kept_bytes * count / (gpu.memory_gb_per_second * 1e9 * RATE)
    traffic = step_traffic(shape, training)
    inside, outside = gpu.link_gb_per_second * 1e9 * RATE, gpu.network_gb_per_second * 1e9 * RATE
    stays = layout.tensor * training.data_size <= machine.gpus_per_node
    tensor = traffic.tensor / inside + traffic.num_calls * LATENCY_SECONDS
    shards = training.data_size if training.shards_optimizer else 1
    updated = max(trained_parameters(shape, training, stage) for stage in (0, layout.pipeline - 1)) // shards
    optimizer = updated * _OPTIMIZER_BYTES / (gpu.memory_gb_per_second * 1e9 * RATE)
    return StepTime(
        products=products,
        elementwise=elementwise,
        optimizer=optimizer,
        tensor=tensor,
        pipeline=traffic.pipeline / (inside if training.world_size <= machine.gpus_per_node else outside),
        data=traffic.data / (inside if stays else outside),
        bubble=(layout.pipeline - 1) / (count * layout.virtual) * (products + elementwise + tensor),
    )
