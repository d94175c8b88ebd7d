"""Where a model runs and what it computes in: the two choices every command with a model offers."""

from typing import TYPE_CHECKING, Literal

from hanlm.errors import ConfigError

if TYPE_CHECKING:
    import torch

type Device = Literal["auto", "cpu", "cuda"]
"""Where a model runs."""
type Precision = Literal["auto", "bf16", "fp32"]
"""What a model computes in."""


def resolve_device(device: Device) -> str:
    """Return the torch device that ``auto`` stands for: a GPU where there is one.

    Raises:
        ConfigError: If a GPU is asked for and there is none.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda was asked for, but torch sees no GPU; pass --device cpu.")
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def resolve_dtype(precision: str) -> "torch.dtype":
    """Return the dtype of ``auto``, ``bf16`` or ``fp32``.

    ``auto`` is bf16 on CUDA and on CPUs with AMX. AVX-512 bf16 alone is slower than fp32: its matrix products
    ran at 77 GFLOP/s a core against 137 (oneDNN 3.13, products of 1024 x 256 x 14080), a whole step at 0.66.

    Raises:
        ConfigError: For any other name.
    """
    import torch

    names = {"bf16": torch.bfloat16, "fp32": torch.float32}
    if precision == "auto":
        fast = torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()  # pyright: ignore[reportPrivateUsage]
        return torch.bfloat16 if fast else torch.float32
    if precision not in names:
        raise ConfigError(f"precision is auto, bf16 or fp32; got {precision!r}.")
    return names[precision]
