"""What a microbatch tells of its own losses, sample by sample."""

from collections.abc import Sequence

import torch


def sample_losses(
    mean: torch.Tensor, nll_BT: torch.Tensor, label_BT: torch.Tensor, special_ids: Sequence[int]
) -> torch.Tensor:
    """Return a microbatch's mean loss, then of each sample the nats of its text, then the number of its text tokens.

    Args:
        mean: The mean loss in nats a token.
        nll_BT: Negative log-likelihoods in nats.
        label_BT: Their tokens.
        special_ids: Tokens that are not text.

    Returns:
        Shape [1 + 2 * B], fp64.
    """
    is_text_BT = torch.ones_like(label_BT, dtype=torch.bool)
    for i in special_ids:
        is_text_BT &= label_BT != i
    nats_B = (nll_BT.double() * is_text_BT).sum(dim=1)
    return torch.cat([mean.detach().double()[None], nats_B, is_text_BT.sum(dim=1).double()])
