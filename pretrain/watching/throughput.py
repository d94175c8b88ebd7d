"""What a step costs: arithmetic, memory, and the share of what the GPU could do."""

import resource
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed as dist

from pretrain.chunks import Chunks
from pretrain.families import ModelShape
from pretrain.gpu_peaks import PEAK_TFLOPS
from pretrain.parallel import Place


def peak_tflops(device_name: str, dtype: torch.dtype) -> float | None:
    """Return what a GPU can do at most in bf16, or None where that is not known."""
    if dtype != torch.bfloat16:
        return None
    found = [name for name in PEAK_TFLOPS if name in device_name]
    return PEAK_TFLOPS[max(found, key=len)] if found else None


_VIEWS = "new_rows."  # rows of a table that is counted already


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCost:
    """The arithmetic that training on one token needs, however it is done: recomputation does not count."""

    matrix_weights: int
    """Weights that take part in a matrix product, over all processes; a lookup in the embedding is none."""
    trained_share: float
    """Share of them that gets a gradient."""
    attention_flops: float
    """Of all layers, forward, causal: a query looks at half of the sequence on average."""

    @property
    def flops_per_token(self) -> float:
        """Floating-point operations a token.

        Two for each weight forward, two for the gradient of its input, two for its own where it is trained; attention
        twice as much backward as forward (Kaplan et al. 2020, arXiv:2001.08361; Chowdhery et al. 2022,
        arXiv:2204.02311, who do not halve attention for causality).
        """
        return self.matrix_weights * (4 + 2 * self.trained_share) + 3 * self.attention_flops


def step_cost(model: Chunks, shape: ModelShape, place: Place, *, seq_length: int) -> StepCost:
    """Return what one token costs in the current phase; call it on every process."""
    weights, trained = 0, 0
    is_head = shape.is_tied and place.is_first_stage and place.is_last_stage
    for name, parameter in model.named_parameters():
        if parameter.dim() != 2 or ("embedding" in name and not is_head):
            continue
        trained += parameter.numel() if parameter.requires_grad else 0
        if _VIEWS not in name:
            weights += parameter.numel()
    sums = torch.tensor([weights, trained], dtype=torch.float64, device=place.device)
    if place.world_size > 1:
        dist.all_reduce(sums)
        sums /= place.data_size
    weights, trained = (int(n) for n in sums.tolist())
    width = shape.num_heads * shape.head_size
    return StepCost(
        matrix_weights=weights,
        trained_share=trained / weights if weights else 0.0,
        attention_flops=2.0 * shape.num_layers * seq_length * width,
    )


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory this process has held: of its GPU, or resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def learning_rates(param_groups: Any) -> dict[str, float]:
    """Return ``lr``, the rate of the weights that are in no named group, and ``lr/NAME`` for each group."""
    rates = [(group.get("name"), float(group["lr"])) for group in param_groups]
    common = [rate for name, rate in rates if name is None] or [rate for _, rate in rates]
    return {"lr": max(common, default=0.0)} | {f"lr/{name}": rate for name, rate in rates if name is not None}
