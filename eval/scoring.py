"""Scoring spans with a causal language model: batches of similar length, bounded memory, exact sums.

Shape suffixes: B batch, T tokens, K tokens whose logits are kept, V vocabulary.
"""

import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eval.spans import Span
from hanlm.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

MAX_LOGITS = 2**28
"""Logits of one batch, so that a large vocabulary shrinks the batch instead of filling the memory (1 GiB in fp32)."""

_PADDING_ID = 0  # any id does: padding stands right of every real token, which a causal model never sees


def score_spans(
    model: "PreTrainedModel", spans: Iterable[Span], *, batch_tokens: int
) -> Iterator[tuple[Span, NDArray[np.float64]]]:
    """Yield every span with the negative log-likelihood of each of its scored tokens, in nats, longest spans first.

    Args:
        model: In evaluation mode, on the device it is to run on.
        spans: All held in memory and sorted by length, so that batches hardly hold padding and the largest comes first.
        batch_tokens: Most tokens of a batch, padding included (a longer span makes a batch of its own).

    Raises:
        InputError: If the model yields NaN.
    """
    import torch

    keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
    budget = max(1, min(batch_tokens, MAX_LOGITS // int(model.config.get_text_config().vocab_size)))
    for batch in _batches(sorted(spans, key=lambda span: (-len(span.ids), span.owner)), budget):
        with torch.inference_mode():
            nll_BK = _score_batch(model, batch, keeps_logits).cpu().numpy()
        for span, nll_K in zip(batch, nll_BK, strict=True):
            last = nll_BK.shape[1] - (len(batch[0].ids) - len(span.ids))
            nll = nll_K[last - span.num_scored : last]
            if np.isnan(nll).any():
                raise InputError(
                    "the model gives NaN instead of probabilities; expected numbers: its weights are damaged, or they "
                    "overflow at this precision (try --precision fp32)."
                )
            yield span, nll


def _batches(spans: list[Span], budget: int) -> Iterator[list[Span]]:
    batch: list[Span] = []
    for span in spans:
        if batch and len(batch[0].ids) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(span)
    if batch:
        yield batch


def _score_batch(model: "PreTrainedModel", batch: list[Span], keeps_logits: bool) -> "torch.Tensor":
    import torch

    from hanlm.bits import IGNORE, token_nll

    num_inputs = len(batch[0].ids) - 1
    inputs_BT = torch.full((len(batch), num_inputs), _PADDING_ID)
    labels_BT = torch.full((len(batch), num_inputs), IGNORE)
    for row, span in enumerate(batch):
        ids = torch.tensor(span.ids)
        inputs_BT[row, : len(ids) - 1] = ids[:-1]
        labels_BT[row, span.first_scored - 1 : len(ids) - 1] = ids[span.first_scored :]
    num_kept = num_inputs - min(span.first_scored - 1 for span in batch)
    inputs_BT = inputs_BT.to(model.device)
    if keeps_logits:  # the head, which is most of a small model's work, then skips the tokens that only give context
        logits_BKV = model(input_ids=inputs_BT, use_cache=False, logits_to_keep=num_kept).logits
    else:
        logits_BKV = model(input_ids=inputs_BT, use_cache=False).logits[:, -num_kept:]
    return token_nll(logits_BKV, labels_BT[:, -num_kept:].to(logits_BKV.device))
