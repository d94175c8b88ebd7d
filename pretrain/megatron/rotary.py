"""Rotary positions and the gated unit with gradients of their own: the same numbers in fewer passes over memory.

megatron-core turns heads by concatenating halves and computes the angles anew for every layer; the gradient of its
gated unit is concatenated too. Its fused forms are made for GPUs.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import silu


class Rotary:
    """Angles of the positions, computed once for all layers.

    Args:
        frequency_K2: Rotary frequencies of half of a head's axes, fp32.
    """

    def __init__(self, frequency_K2: torch.Tensor) -> None:
        self._frequency_K2 = frequency_K2
        self._tables: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, x_SBHK: torch.Tensor) -> torch.Tensor:
        """Return queries or keys turned by their positions, which count from 0, in the order [B, H, S, K].

        The order is that of memory too: attention on a CPU takes a quarter less time than on rows that lie far apart.
        """
        cos_SK2, sin_SK2 = self._of_positions(x_SBHK)
        return _Rotate.apply(x_SBHK, cos_SK2, sin_SK2)  # pyright: ignore[reportReturnType]

    def _of_positions(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length = like.shape[0]
        known = self._tables
        if known is None or len(known[0]) < length or known[0].dtype != like.dtype or known[0].device != like.device:
            positions_S = torch.arange(length, device=like.device, dtype=torch.float32)
            angles_SK2 = torch.outer(positions_S, self._frequency_K2.to(like.device))
            self._tables = known = angles_SK2.cos().to(like.dtype), angles_SK2.sin().to(like.dtype)
        return known[0][:length], known[1][:length]


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_SBHK: torch.Tensor, cos_SK2: torch.Tensor, sin_SK2: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos_SK2, sin_SK2)
        x_BHSK = x_SBHK.permute(1, 2, 0, 3)
        turned_BHSK = x_SBHK.new_empty(x_BHSK.shape)
        _turn(x_BHSK, cos_SK2, sin_SK2, out=turned_BHSK)
        return turned_BHSK

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        cos_SK2, sin_SK2 = ctx.saved_tensors
        batch, heads, length, size = grads[0].shape
        turned_SBHK = grads[0].new_empty((length, batch, heads, size))
        _turn(grads[0], cos_SK2, -sin_SK2, out=turned_SBHK.permute(1, 2, 0, 3))
        return turned_SBHK, None, None


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *, out: torch.Tensor) -> None:
    first, second = x.chunk(2, dim=-1)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)


class GatedSiLU(nn.Module):
    """The SwiGLU of LLaMA: of the two halves of the last axis, silu of the first times the second."""

    def __init__(self, **_options: Any) -> None:
        super().__init__()

    def forward(self, both: torch.Tensor) -> torch.Tensor:
        """Return an array half as wide."""
        return _GatedSiLU.apply(both)  # pyright: ignore[reportReturnType]


class _GatedSiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: torch.Tensor) -> torch.Tensor:
        gate, up = both.chunk(2, dim=-1)
        activated = silu(gate)
        ctx.save_for_backward(both, activated)
        return activated * up

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        both, activated = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        gradient = torch.empty_like(both)
        of_gate, of_up = gradient.chunk(2, dim=-1)
        torch.mul(grads[0], activated, out=of_up)
        torch.ops.aten.silu_backward.grad_input(torch.mul(grads[0], up), gate, grad_input=of_gate)
        return gradient
