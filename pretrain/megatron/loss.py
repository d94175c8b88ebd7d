"""The output layer and the cross-entropy in one, over a vocabulary that may be cut across ranks.

With a large vocabulary these two are more than half of a training step. Logits exist in fp32 for a few rows at
a time only; for the rest of a block they are kept in the training precision and overwritten by their own
gradient, so that one buffer serves the forward and the backward pass. Shapes: N tokens, V vocabulary rows of
this rank, R of them that train by themselves, D hidden size.
"""

from typing import Any, NamedTuple

import torch
from torch import distributed as dist

_BLOCK_ELEMENTS = 2**26
"""Logits held at once in the training precision (128 MiB in bf16)."""
_CACHE_ROWS = 128
"""Rows a block has on a CPU in fp32, whose cache holds their logits from product to gradient: the fastest of 64 to
4,096 with a vocabulary of 14,000."""


class RowSpan(NamedTuple):
    """Rows of this rank's part of a vocabulary table."""

    begin: int
    end: int
    first: int = 0
    """The token of the part's first row."""


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        weight_VD: torch.Tensor,
        rows_RD: torch.Tensor | None,
        labels_N: torch.Tensor,
        scale: float,
        vocab: "VocabPart",
        span: RowSpan | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        needs_hidden, needs_weight, needs_rows = ctx.needs_input_grad[:3]
        nll_N = torch.empty(labels_N.shape, dtype=torch.float32, device=hidden_ND.device)
        grad_hidden_ND = torch.empty_like(hidden_ND) if needs_hidden else None
        grad_weight_VD = torch.empty_like(weight_VD) if needs_weight else None
        grad_rows_RD = torch.zeros_like(rows_RD) if rows_RD is not None and needs_rows else None
        wants_gradient = needs_hidden or needs_weight or needs_rows
        valid_VD = weight_VD[: vocab.num_valid]
        rows = _rows_a_block(vocab, hidden_ND)
        for start in range(0, len(labels_N), rows):
            block = slice(start, start + rows)
            logits_NV = hidden_ND[block] @ valid_VD.T
            nll_N[block] = _loss_and_gradient_(logits_NV, labels_N[block], scale, vocab, wants_gradient=wants_gradient)
            if grad_hidden_ND is not None:
                torch.mm(logits_NV, valid_VD, out=grad_hidden_ND[block])
            if grad_weight_VD is not None:
                grad_weight_VD[: vocab.num_valid].addmm_(logits_NV.T, hidden_ND[block], beta=float(start > 0))
            if grad_rows_RD is not None and span is not None:
                grad_rows_RD.addmm_(logits_NV[:, span.begin : span.end].T, hidden_ND[block])
        if grad_weight_VD is not None:
            grad_weight_VD[vocab.num_valid :] = 0
        ctx.save_for_backward(grad_hidden_ND, grad_weight_VD, grad_rows_RD)
        ctx.mark_non_differentiable(nll_N)
        return nll_N.sum() * scale, nll_N

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        results = (None if g is None else g.mul_(grads[0]) for g in ctx.saved_tensors)
        return (*results, None, None, None, None)


class VocabPart:
    """The rows of the vocabulary that this rank holds.

    Args:
        num_rows: Rows of this rank's weight, padding included.
        num_total: Size of the vocabulary without padding.
        rank: Tensor-parallel rank.
        group: Tensor-parallel group, None where there is only one rank.
    """

    def __init__(self, *, num_rows: int, num_total: int, rank: int, group: dist.ProcessGroup | None) -> None:
        self.start = rank * num_rows
        self.num_valid = max(0, min(num_rows, num_total - self.start))
        self.group = group

    def all_reduce(self, tensor: torch.Tensor, op: Any) -> torch.Tensor:
        """Reduce over the ranks that share the vocabulary, in place."""
        if self.group is not None:
            dist.all_reduce(tensor, op=op, group=self.group)
        return tensor


def linear_cross_entropy(
    hidden_ND: torch.Tensor,
    weight_VD: torch.Tensor,
    labels_N: torch.Tensor,
    *,
    scale: float,
    vocab: VocabPart,
    rows: tuple[torch.Tensor, RowSpan] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scaled sum of the negative log-likelihoods, and each of them.

    Args:
        hidden_ND: Final hidden states, the same on every tensor-parallel rank; the gradient is this rank's
            share, to be summed over the ranks by whoever made them the same.
        weight_VD: This rank's rows of the output layer.
        labels_N: Next-token ids.
        scale: Factor of the sum, such as 1 / N for the mean.
        vocab: Which rows these are.
        rows: Some of them as a tensor of their own, on the same memory, which takes their gradient where the whole
            weight wants none.

    Returns:
        A scalar to differentiate, in fp32, and the negative log-likelihoods of shape [N], in nats, fp32.
    """
    rows_RD, span = (None, None) if rows is None else rows
    return _LinearCrossEntropy.apply(hidden_ND, weight_VD, rows_RD, labels_N, scale, vocab, span)  # pyright: ignore[reportReturnType]


def _rows_a_block(vocab: VocabPart, hidden_ND: torch.Tensor) -> int:
    # Else ranks would wait for each other after every few rows, and bf16 gradients be rounded with each block.
    if hidden_ND.device.type == "cpu" and vocab.group is None and hidden_ND.dtype == torch.float32:
        return _CACHE_ROWS
    return max(1, _BLOCK_ELEMENTS // max(1, vocab.num_valid))


def _loss_and_gradient_(
    logits_NV: torch.Tensor, labels_N: torch.Tensor, scale: float, vocab: VocabPart, *, wants_gradient: bool
) -> torch.Tensor:
    """Return each row's negative log-likelihood, and overwrite the logits: with ``wants_gradient`` by its gradient."""
    scores_NV = logits_NV.float()
    top_N = vocab.all_reduce(_row_max(scores_NV), dist.ReduceOp.MAX)
    scores_NV.sub_(top_N[:, None])
    local_N = labels_N - vocab.start
    is_mine_N = (local_N >= 0) & (local_N < vocab.num_valid)
    index_N1 = local_N.clamp(0, max(0, vocab.num_valid - 1))[:, None]
    target_N = torch.zeros_like(top_N)
    if vocab.num_valid:
        target_N = scores_NV.gather(1, index_N1)[:, 0] * is_mine_N
    sums_N = scores_NV.exp_().sum(dim=1)
    both_2N = vocab.all_reduce(torch.stack((target_N, sums_N)), dist.ReduceOp.SUM)
    if wants_gradient:
        scores_NV.mul_((scale / both_2N[1])[:, None])
        if vocab.num_valid:
            scores_NV.scatter_add_(1, index_N1, (is_mine_N * -scale).to(scores_NV.dtype)[:, None])
        logits_NV.copy_(scores_NV)
    return both_2N[1].log() - both_2N[0]


def _row_max(scores_NV: torch.Tensor) -> torch.Tensor:
    if scores_NV.shape[1] == 0:  # a rank that holds nothing but padding
        return scores_NV.new_full((len(scores_NV),), -torch.inf)
    return scores_NV.amax(dim=1)
