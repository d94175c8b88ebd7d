"""What a step costs in memory, at which rates it learns, and what the GPU could do at most."""

import resource
import sys
from typing import Any

import torch

from pretrain.gpu_peaks import PEAK_TFLOPS


def peak_tflops(device_name: str, dtype: torch.dtype) -> float | None:
    """Return what a GPU can do at most in bf16, or None where that is not known."""
    if dtype != torch.bfloat16:
        return None
    found = [name for name in PEAK_TFLOPS if name in device_name]
    return PEAK_TFLOPS[max(found, key=len)] if found else None


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
