"""Output rows that know how frequent their tokens are, from one pass of the model over a sample of the corpus.

A new row's logit starts wherever its parents' do: for pieces of a script that the base never wrote, far below every
old token. The hidden states of a language share a large common part, so a row moved along one direction gains nearly
the same logit in every context. Each new row is moved along it until its mean logit is what its frequency asks for, so
that the new tokens start as a unigram model and keep what their parents say about contexts. Where there is text
without Chinese, the direction is the one that gains there as little as possible.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

RIDGE: Final = 0.01
"""Added to the hidden states' second moment, in its mean eigenvalue, so that a small sample cannot blow up."""

BATCH_ROWS: Final = 4


class HiddenMoments:
    """Sums over the hidden states that the output matrix meets, and over the base's share of them."""

    def __init__(self, num_base: int) -> None:
        self._num_base = num_base
        self.count = 0
        self.log_normaliser = 0.0
        self.first: Any = 0.0
        self.second: Any = 0.0

    @torch.no_grad()
    def add(self, hidden_BTD: torch.Tensor, logits_BTV: torch.Tensor, lengths_B: Sequence[int]) -> None:
        """Add a batch of rows, without their padding."""
        for row, (hidden_TD, logits_TV) in enumerate(zip(hidden_BTD, logits_BTV, strict=True)):
            length = lengths_B[row]
            h = hidden_TD[:length].double()
            self.count += length
            self.first = self.first + h.sum(0)
            self.second = self.second + h.T @ h
            self.log_normaliser += float(logits_TV[:length, : self._num_base].float().logsumexp(-1).double().sum())


def calibrate(
    model: Any,
    rows: Sequence[Sequence[int]],
    counts: Sequence[int],
    num_base: int,
    foreign: Sequence[Sequence[int]] = (),
) -> None:
    """Move the new rows of the output matrix, in place, so that each token's mean logit fits its frequency.

    Args:
        model: A causal language model with rows for the new tokens.
        rows: Token ids of a sample of texts; each within the model's context.
        counts: Of every token, base and new, in as much text as is at hand; one that never occurs counts a half.
        num_base: Tokens of the base.
        foreign: Rows of text whose next tokens are never new ones; may be none.
    """
    moments = _moments(model, rows, num_base)
    mean_D, second_DD = moments.first / moments.count, moments.second / moments.count
    if foreign:
        elsewhere = _moments(model, foreign, num_base)
        second_DD = second_DD + elsewhere.second / elsewhere.count
    ridge = RIDGE * float(second_DD.diagonal().mean())
    # u minimises E[(u.h - 1)^2] here plus E[(u.h)^2] in foreign text: all states gain the same here, and nothing there.
    direction_D = torch.linalg.solve(second_DD + ridge * torch.eye(len(mean_D), dtype=torch.float64), mean_D)
    frequency_V = (np.maximum(np.asarray(counts, np.float64), 0.5)) / max(1, sum(counts))
    share = max(float(frequency_V[:num_base].sum()), 1e-6)
    # The base's logits add up to exp(log_normaliser), and its tokens to this share of the text.
    wanted = moments.log_normaliser / moments.count + np.log(frequency_V[num_base:]) - np.log(share)
    with torch.no_grad():
        weight = model.get_output_embeddings().weight
        new = weight[num_base : num_base + len(wanted)].double().cpu()
        gap = torch.from_numpy(wanted) - new @ mean_D
        new += torch.outer(gap / (direction_D @ mean_D), direction_D)
        weight[num_base : num_base + len(wanted)] = new.to(weight)


def _moments(model: Any, rows: Sequence[Sequence[int]], num_base: int) -> HiddenMoments:
    moments = HiddenMoments(num_base)
    met: list[torch.Tensor] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _module, inputs: met.append(inputs[0]))
    try:
        with torch.no_grad():
            for start in range(0, len(rows), BATCH_ROWS):
                batch = rows[start : start + BATCH_ROWS]
                logits = model(pad_right(batch).to(model.device)).logits
                moments.add(met.pop().cpu(), logits.cpu(), [len(row) for row in batch])
    finally:
        hook.remove()
    return moments


def pad_right(rows: Sequence[Sequence[int]], value: int = 0) -> torch.Tensor:
    """Return rows as one [B, T] tensor; what stands after a row's end cannot reach a causal model's earlier states."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
