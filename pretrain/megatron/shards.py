"""Which part of every weight this process's optimizer updates, with and without the distributed optimizer.

The distributed optimizer cuts the flat buffer of all weights at equal lengths, without regard to where a weight
ends, so a data-parallel rank owns whole weights, pieces of them, and nothing of others.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed as dist


@dataclass(frozen=True, slots=True)
class Shard:
    """A stretch of one weight, as the optimizer holds it."""

    main: torch.Tensor
    """The fp32 tensor that the optimizer updates."""
    start: int
    """Where it begins in the flattened weight."""
    end: int

    def of(self, whole: torch.Tensor) -> torch.Tensor:
        """Return this stretch of a whole tensor, in the shape of ``main``."""
        return whole.flatten()[self.start : self.end].view_as(self.main)


def is_distributed(inner: Any) -> bool:
    """Whether an optimizer of megatron-core is the one that is sharded over data-parallel ranks."""
    return hasattr(inner, "model_param_group_index_map")


def shards(inner: Any, parameters: Mapping[str, Any]) -> dict[str, Shard]:
    """Return by name what this process updates; weights of which it updates nothing are left out."""
    found: dict[str, Shard] = {}
    for name, parameter in parameters.items():
        if not parameter.requires_grad:
            continue
        if not is_distributed(inner):
            main = parameter if parameter.dtype == torch.float32 else parameter.main_param
            found[name] = Shard(main, 0, parameter.numel())
        elif parameter in inner.model_param_group_index_map:
            group, index = inner.model_param_group_index_map[parameter]
            stretch = inner._get_model_param_range_map(parameter)["param"]
            found[name] = Shard(inner.optimizer.param_groups[group]["params"][index], stretch.start, stretch.end)
    return found


def gather(
    inner: Any, shard: Shard | None, values: torch.Tensor | None, shape: Sequence[int], *, everywhere: bool
) -> torch.Tensor | None:
    """Return the whole fp32 tensor that data-parallel ranks hold stretches of; each rank calls it in the same order.

    megatron-core's own gathering leaves out the padding between buckets, but not from the positions at which it
    then looks for the weights.

    Args:
        inner: The optimizer.
        shard: This process's stretch, if it has one.
        values: What is there, in the shape of ``shard.main``.
        shape: The whole tensor's shape.
        everywhere: Whether every rank gets it, or only the first one.
    """
    if not is_distributed(inner):
        return values
    group = inner.data_parallel_group
    whole = torch.zeros(torch.Size(shape).numel(), dtype=torch.float32, device=inner.buffers[0].grad_data.device)
    if shard is not None and values is not None:
        whole[shard.start : shard.end] = values.flatten()
    if group.size() > 1:
        bits = whole.view(torch.int32)  # zeros are added, which as integers leaves every bit, that of -0.0 too
        if everywhere:
            dist.all_reduce(bits, group=group)
        else:
            dist.reduce(bits, group=group, group_dst=0)
    return whole.view(*shape) if everywhere or group.rank() == 0 else None


def adopt_masters(
    inner: Any, parameters: Mapping[str, Any], masters: dict[str, torch.Tensor], *, views: Set[str]
) -> None:
    """Let the optimizer begin from the exact weights and keep ``masters`` true to it.

    In fp32 the distributed optimizer moves the parameters into its buffers. In bf16 it holds the exact weights
    itself, each rank its own part, so that ``masters`` gives them up. Those named in ``views``, which are parts of
    others, stay.
    """
    owned = shards(inner, parameters)
    for name, parameter in parameters.items():
        if parameter.dtype == torch.float32:
            if name not in views:
                masters[name] = parameter.data
        elif not parameter.requires_grad:
            continue
        elif not is_distributed(inner):
            owned[name].main.data = masters[name]
        else:
            if name in owned:
                owned[name].main.data.copy_(owned[name].of(masters[name]))
            if name not in views:
                del masters[name]


def gather_masters(inner: Any, parameters: Mapping[str, Any], masters: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return the whole exact weights that ``masters`` has given up; call it on every data-parallel rank."""
    owned, found = shards(inner, parameters), dict[str, Any]()
    for name, parameter in parameters.items():
        if name not in masters:
            shard = owned.get(name)
            values = None if shard is None else shard.main.detach()
            found[name] = gather(inner, shard, values, parameter.shape, everywhere=True)
    return found
