"""Everything megatron-core needs to run where there is no CUDA device, and nothing else.

megatron-core 0.19 asks for the current CUDA device, allocates with ``device="cuda"``, keeps CUDA random states
and compares type names in places that have no other path. Each group of patches stands for one of those needs.
"""

import contextlib
import ctypes
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import _device

from hanlm.megatron import megatron_import

_CPU = torch.device("cpu")
_FACTORIES = ("arange", "empty", "full", "ones", "rand", "randn", "tensor", "tril", "triu", "zeros")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


@contextmanager
def without_cuda() -> Generator[None]:
    """Patch torch and megatron-core for the block; does nothing where there is a CUDA device."""
    if torch.cuda.is_available():
        yield
        return
    # torch.device(...) as a context knows the factories by identity, from the first time it is asked.
    constructors: Any = _device._device_constructors  # pyright: ignore[reportPrivateUsage]
    constructors()
    patches = [*_devices(), *_random_states(), *_streams(), *_type_names()]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    _keep_memory()
    try:
        for owner, name, value in patches:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in originals:
            setattr(owner, name, value)


type _Patches = list[tuple[Any, str, Any]]


def _devices() -> _Patches:
    """RoPE, tensor-parallel mappings, schedules, DDP buffers and gradient clipping ask for the CUDA device."""
    factories = [(torch, name, _on_cpu(getattr(torch, name))) for name in _FACTORIES]
    return [
        *factories,
        (torch.cuda, "current_device", lambda: _CPU),
        (torch.Tensor, "cuda", lambda self, *_args, **_kwargs: self),
    ]


def _on_cpu(factory: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def create(*args: Any, **kwargs: Any) -> torch.Tensor:
        device = kwargs.get("device")
        if device is not None and str(device).startswith("cuda"):
            kwargs["device"] = _CPU
        return factory(*args, **kwargs)

    return create


def _random_states() -> _Patches:
    """The tracker of random states forks even where dropout is 0."""
    with megatron_import():
        from megatron.core.tensor_parallel import random

    def get_state(*_args: Any, **_kwargs: Any) -> torch.Tensor:
        return torch.get_rng_state()

    def set_state(new_state: torch.Tensor, *_args: Any, **_kwargs: Any) -> None:
        torch.set_rng_state(new_state)

    return [
        (torch.cuda, "get_rng_state", get_state),
        (torch.cuda, "set_rng_state", set_state),
        (torch.cuda, "manual_seed", torch.manual_seed),
        (random, "_get_cuda_rng_state", get_state),
        (random, "_set_cuda_rng_state", set_state),
    ]


def _streams() -> _Patches:
    """DDP waits for streams, checkpoints for the device."""
    return [
        (torch.cuda, "synchronize", lambda *_args, **_kwargs: None),
        (torch.cuda, "current_stream", lambda *_args, **_kwargs: None),
        (torch.cuda, "stream", lambda *_args, **_kwargs: contextlib.nullcontext()),
    ]


def _type_names() -> _Patches:
    """Clipping and the mixed-precision optimizer compare type names such as ``torch.cuda.FloatTensor``."""
    original: Any = torch.Tensor.type

    def type_name(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return original(self, *args, **kwargs)
        return original(self).replace("torch.", "torch.cuda.")

    return [(torch.Tensor, "type", type_name)]


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
