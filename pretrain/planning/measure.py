"""The peak of memory that torch allocates, measured: by CUDA's allocator, or by watching every tensor live and die.

torch's profiler sees a CPU's allocations too, but not those that another thread gives back, as gloo's threads do.
"""

import weakref
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(slots=True)
class Peak:
    """Filled in when the block ends."""

    num_bytes: int = 0
    """The most that was allocated at once, beyond what was there when the block began."""


@contextmanager
def peak_memory_of(device: torch.device) -> Generator[Peak]:
    """Measure what the block allocates on a device."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.num_bytes = torch.cuda.max_memory_allocated(device) - before
        return
    with _Watch() as watch:
        yield peak
    peak.num_bytes = watch.peak


class _Watch(TorchDispatchMode):
    """Adds up the storages that operations have made and that are still there; temporaries inside one are not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.current = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_storage(x)._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and _storage(tensor)._cdata not in given:
                self._add(_storage(tensor))
        return made

    def _add(self, storage: Any) -> None:
        key, num_bytes = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def forget(_gone: Any) -> None:
            self.current -= num_bytes
            self._alive.pop(key, None)

        self._alive[key] = weakref.ref(storage, forget)
        self.current += num_bytes
        self.peak = max(self.peak, self.current)


def _storage(tensor: torch.Tensor) -> Any:
    return tensor.untyped_storage()
