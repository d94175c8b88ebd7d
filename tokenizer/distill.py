"""New rows trained for a moment on the frozen model: after a new token it should be in the state it was in before.

For each text two things are asked of the new rows, and of nothing else. Read with the new tokens, the model's last
hidden states should equal those it has at the same places when the text is spelled in its old tokens (Token
Distillation), which teaches the input rows; and the text's next tokens should be likely, which teaches the output rows.

Source: Dobler et al. 2025, Token Distillation (arXiv:2505.20133), there one token at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from hanlm.bits import IGNORE
from tokenizer.calibrate import pad_right

SMALL_GRADIENT: Final = 1e-4
"""Adam's epsilon. A row whose token a batch does not hold gets a gradient of about 1e-6, always downwards. With the
usual 1e-8 every such row sinks by a whole step each time, and held-out text with rare tokens gets worse than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distillation:
    """How the rows are trained."""

    steps: int = 60
    batch_rows: int = 8
    nats_per_step: float = 0.2
    """How far Adam's first steps move a logit: its rate for output rows is this over the hidden states' mean absolute
    sum. Falls linearly to a tenth."""
    input_lr: float = 0.05
    """Adam's rate for input rows that are not output rows too, in the deviation of the base's; falls likewise."""
    hidden_weight: float = 1.0
    """Of the squared difference of hidden states, in their variance, beside the next-token loss in nats."""


def distill(
    model: Any,
    rows: Sequence[Sequence[int]],
    spelled: Sequence[Sequence[int]],
    num_base: int,
    options: Distillation,
    seed: int,
) -> None:
    """Train the new rows of the input and output matrices in place; every other weight stays bit for bit.

    Args:
        model: A causal language model in float32 with rows for the new tokens.
        rows: Token ids of texts, at least one row.
        spelled: For each new token the base's ids for its text, in order.
        num_base: Tokens of the base.
        options: Steps, sizes, rates.
        seed: Of the order of rows.
    """
    inputs, outputs = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    for parameter in model.parameters():
        parameter.requires_grad_(parameter is inputs or parameter is outputs)
    rates = {outputs: options.nats_per_step / absolute_sum(model, rows[: options.batch_rows])}
    if inputs is not outputs:
        rates[inputs] = options.input_lr * float(inputs[:num_base].detach().std())
    # No decay: with a gradient of zero Adam then leaves a row exactly as it is.
    groups = [{"params": [weight], "lr": rate, "first": rate} for weight, rate in rates.items()]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.95), eps=SMALL_GRADIENT)
    generator = np.random.default_rng(seed)
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["first"] * (1 - 0.9 * step / options.steps)
        batch = [rows[i] for i in generator.integers(len(rows), size=options.batch_rows)]
        loss(model, batch, spelled, num_base, options.hidden_weight).backward()
        for weight in rates:
            weight.grad[:num_base].zero_()
            weight.grad[num_base + len(spelled) :].zero_()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def absolute_sum(model: Any, rows: Sequence[Sequence[int]]) -> float:
    """Return the mean sum of a last hidden state's absolute values: what a uniform step of a row is multiplied by."""
    hidden_BTD = model(pad_right(rows).to(model.device), output_hidden_states=True).hidden_states[-1]
    return float(hidden_BTD.float().abs().sum(-1).mean())


def loss(
    model: Any, rows: Sequence[Sequence[int]], spelled: Sequence[Sequence[int]], num_base: int, hidden_weight: float
) -> torch.Tensor:
    """Return the next-token loss in nats, plus the weighted hidden-state difference, of a batch."""
    output = model(pad_right(rows).to(model.device), output_hidden_states=hidden_weight > 0)
    labels_BT = pad_right([row[1:] for row in rows], IGNORE).to(model.device)
    logits_BTV = output.logits[:, : labels_BT.shape[1]]
    nats = torch.nn.functional.cross_entropy(
        logits_BTV.reshape(-1, logits_BTV.shape[-1]).float(), labels_BT.reshape(-1), ignore_index=IGNORE
    )
    if not hidden_weight:
        return nats
    old = [spell(row, spelled, num_base) for row in rows]
    with torch.no_grad():
        teacher_BTD = model(pad_right([ids for ids, _ in old]).to(model.device), output_hidden_states=True)
    wanted = torch.cat([teacher_BTD.hidden_states[-1][i, ends] for i, (_, ends) in enumerate(old)])
    got = torch.cat([output.hidden_states[-1][i, : len(ends)] for i, (_, ends) in enumerate(old)])
    return nats + hidden_weight * (got - wanted).square().mean() / wanted.var()


def spell(row: Sequence[int], spelled: Sequence[Sequence[int]], num_base: int) -> tuple[list[int], list[int]]:
    """Return a row in the base's tokens, and for each token of the row where its spelling ends."""
    ids: list[int] = []
    ends: list[int] = []
    for i in row:
        ids += [i] if i < num_base else spelled[i - num_base]
        ends.append(len(ids) - 1)
    return ids, ends
