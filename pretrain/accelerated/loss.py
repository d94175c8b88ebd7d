"""A causal model and its loss in one module, so that DDP sees a single forward pass."""

from typing import Any

import torch

from pretrain.megatron.loss import VocabPart, linear_cross_entropy

_PROBE_TOKENS = 8
_PROBE_TOLERANCE = 1e-4


class CausalLoss(torch.nn.Module):
    """Returns the scaled sum of the negative log-likelihoods, and each of them in nats, fp32.

    Args:
        model: A causal model of transformers, with or without low-rank updates in it.
        dtype: What matrices are multiplied in.
        has_plain_head: What ``has_plain_head`` says of the model; saves the logits from ever existing whole.
    """

    def __init__(self, model: Any, *, dtype: torch.dtype, has_plain_head: bool) -> None:
        super().__init__()
        self.model, self._dtype, self._has_plain_head = model, dtype, has_plain_head

    def forward(
        self, input_BT: torch.Tensor, label_BT: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a scalar to differentiate, and the negative log-likelihoods of shape [B * T]."""
        label_N = label_BT.reshape(-1)
        if not self._has_plain_head:
            logits_BTV = self.model(input_ids=input_BT, use_cache=False).logits
            nll_N = torch.nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), label_N, reduction="none")
            return nll_N.sum() * scale, nll_N.detach()
        hidden_BTD = self.model.base_model(input_ids=input_BT, use_cache=False).last_hidden_state
        weight_VD = self.model.get_output_embeddings().weight
        vocab = VocabPart(num_rows=len(weight_VD), num_total=len(weight_VD), rank=0, group=None)
        with torch.autocast(input_BT.device.type, enabled=False):
            hidden_ND = hidden_BTD.flatten(0, 1).to(self._dtype)
            return linear_cross_entropy(hidden_ND, weight_VD.to(self._dtype), label_N, scale=scale, vocab=vocab)


@torch.no_grad()
def has_plain_head(model: Any) -> bool:
    """Say whether a model's logits are its body's hidden states times one matrix; tried on a few tokens.

    Some families add a bias, scale the logits or bend them (Cohere, Gemma 2): their logits are asked of the model
    itself.
    """
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or "bias" in dict(head.named_parameters()) or model.base_model is model:
        return False
    ids_1T = torch.arange(_PROBE_TOKENS, device=head.weight.device)[None] % len(head.weight)
    hidden_1TD = getattr(model.base_model(input_ids=ids_1T, use_cache=False), "last_hidden_state", None)
    if hidden_1TD is None:
        return False
    logits_1TV = model(input_ids=ids_1T, use_cache=False).logits
    return torch.allclose(head(hidden_1TD), logits_1TV, rtol=_PROBE_TOLERANCE, atol=_PROBE_TOLERANCE)
