"""Everything megatron-core needs to run where there is no CUDA device, and nothing else.

megatron-core 0.19 asks for the current CUDA device, allocates with ``device="cuda"``, keeps CUDA random states
and compares type names in places that have no other path. Each patch below stands for one of those needs.
"""

import contextlib
import ctypes
from collections.abc import Callable
from typing import Any

import torch

from hanlm.megatron import megatron_import

_CPU = torch.device("cpu")
_FACTORIES = ("arange", "empty", "full", "ones", "rand", "randn", "tensor", "tril", "triu", "zeros")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_applied = False


def apply_cpu_patches() -> None:
    """Patch torch and megatron-core for this process, once; does nothing where there is a CUDA device."""
    global _applied  # noqa: PLW0603
    if _applied or torch.cuda.is_available():
        return
    _applied = True
    _patch_devices()
    _patch_random_states()
    _patch_streams()
    _patch_type_names()
    _keep_memory()


def _patch_devices() -> None:
    """RoPE, tensor-parallel mappings, schedules, DDP buffers and gradient clipping ask for the CUDA device."""
    cuda: Any = torch.cuda
    cuda.current_device = lambda: _CPU
    torch.Tensor.cuda = lambda self, *_args, **_kwargs: self  # pyright: ignore[reportAttributeAccessIssue]
    for name in _FACTORIES:
        if hasattr(torch, name):
            setattr(torch, name, _on_cpu(getattr(torch, name)))


def _on_cpu(factory: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def create(*args: Any, **kwargs: Any) -> torch.Tensor:
        device = kwargs.get("device")
        if device is not None and str(device).startswith("cuda"):
            kwargs["device"] = _CPU
        return factory(*args, **kwargs)

    return create


def _patch_random_states() -> None:
    """The tracker of random states forks even where dropout is 0."""
    with megatron_import():
        from megatron.core.tensor_parallel import random

    def get_state(*_args: Any, **_kwargs: Any) -> torch.Tensor:
        return torch.get_rng_state()

    def set_state(new_state: torch.Tensor, *_args: Any, **_kwargs: Any) -> None:
        torch.set_rng_state(new_state)

    cuda: Any = torch.cuda
    cuda.get_rng_state = get_state
    cuda.set_rng_state = set_state
    cuda.manual_seed = torch.manual_seed
    tracker: Any = random
    tracker._get_cuda_rng_state = get_state
    tracker._set_cuda_rng_state = set_state


def _patch_streams() -> None:
    """DDP waits for streams, checkpoints for the device."""
    cuda: Any = torch.cuda
    cuda.synchronize = lambda *_args, **_kwargs: None
    cuda.current_stream = lambda *_args, **_kwargs: None
    cuda.stream = lambda *_args, **_kwargs: contextlib.nullcontext()


def _patch_type_names() -> None:
    """Clipping and the mixed-precision optimizer compare ``tensor.type()`` with names such as
    ``torch.cuda.FloatTensor``."""
    original = torch.Tensor.type

    def type_name(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return original(self, *args, **kwargs)
        return original(self).replace("torch.", "torch.cuda.")

    torch.Tensor.type = type_name  # pyright: ignore[reportAttributeAccessIssue]


def _keep_memory() -> None:
    """Let glibc reuse the memory of large tensors, as CUDA's allocator does.

    By default every one is mapped, zeroed page by page and unmapped again: 13% of a step with 14,000 tokens of
    vocabulary (1.02 against 0.89 s of processor time for 2,048 tokens).
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, 2**30)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
