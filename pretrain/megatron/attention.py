"""The two layers of megatron-core that HanLM replaces: attention and normalisation."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention

from pretrain.megatron.rotary import Rotary


class TorchAttention(nn.Module):
    """Causal attention with rotary positions over ``torch.nn.functional.scaled_dot_product_attention``.

    Simpler than megatron-core's own, never materialises the scores, and its logits equal those of
    transformers exactly. Shapes: S sequence, B batch, H heads of this rank, G key-value heads, K head size.
    """

    def __init__(self, config: Any, *, rotary: Rotary, **_options: Any) -> None:
        super().__init__()
        self.config, self._rotary = config, rotary

    def forward(
        self,
        query_SBHK: torch.Tensor,
        key_SBGK: torch.Tensor,
        value_SBGK: torch.Tensor,
        mask_B1SS: torch.Tensor | None = None,
        **_options: Any,
    ) -> torch.Tensor:
        """Return the attended values, of shape [S, B, H * K]; without a mask a token attends to all before it."""
        length, batch, heads, _ = query_SBHK.shape
        queries, keys, values = self._rotary(query_SBHK), self._rotary(key_SBGK), value_SBGK.permute(1, 2, 0, 3)
        grouped = heads != key_SBGK.shape[2]
        out_BHSK = scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask_B1SS, is_causal=mask_B1SS is None, enable_gqa=grouped
        )
        return out_BHSK.permute(2, 0, 1, 3).reshape(length, batch, -1)


class RMSNorm(nn.Module):
    """Root mean square normalisation that works under sequence parallelism.

    megatron-core's wrapper around torch's norm refuses sequence parallelism; all it takes is to mark the weight,
    so that its gradient is summed over the tensor-parallel group. Where the configuration says
    ``layernorm_zero_centered_gamma`` the weight is held as its distance from 1, and applied in fp32 (Gemma).
    """

    def __init__(self, config: Any, hidden_size: int, eps: float = 1e-6, **_options: Any) -> None:
        super().__init__()
        self.eps = eps
        self.zero_centred: bool = config.layernorm_zero_centered_gamma
        self.weight = nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        mark: Any = self.weight
        mark.sequence_parallel = config.sequence_parallel

    def forward(self, x_SBD: torch.Tensor) -> torch.Tensor:
        """Return the normalised input, same shape and dtype."""
        if self.zero_centred:
            return rms_norm(x_SBD.float(), (x_SBD.shape[-1],), 1.0 + self.weight.float(), self.eps).type_as(x_SBD)
        return rms_norm(x_SBD, (x_SBD.shape[-1],), self.weight, self.eps)
