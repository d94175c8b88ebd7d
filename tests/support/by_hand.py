"""Training by hand as a reference: AdamW that decays matrices alone, clipping, warmup and cosine."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from places import ALONE

from hanlm.tokens import open_tokens
from pretrain.config import PretrainConfig
from pretrain.data.batches import TrainingData
from pretrain.data.mixture import mixture

type Pair = tuple[torch.Tensor, torch.Tensor]


def batches_of(config: PretrainConfig, steps: int, cache: Path) -> Iterator[Pair]:
    """Yield the ids and labels of every step of a run, in one batch each."""
    tokens = open_tokens(config.tokens[0])
    data = TrainingData(
        [(mixture([tokens], {}), steps)],
        ALONE,
        seq_length=config.seq_length,
        global_batch_size=config.global_batch_size,
        micro_batch_size=config.global_batch_size,
        eos_token_id=tokens.eos_token_id,
        seed=config.seed,
        cache=cache,
    )
    for step in range(steps):
        [batch] = data.step(step)
        yield batch.input_BT, batch.label_BT


def train_by_hand(
    model: Any, batches: Iterable[Pair], *, steps: int, lr: float, weight_decay: float = 0.1
) -> list[float]:
    """Train what of a model of transformers wants a gradient, and return the loss of every step."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=(0.9, 0.95))
    losses: list[float] = []
    for step, (input_BT, label_BT) in enumerate(batches, start=1):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step / steps, lr)
        logits = model(input_BT).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), label_BT.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert len(losses) == steps
    return losses


def _rate(share: float, lr: float, warmup: float = 0.03, low: float = 0.1) -> float:
    if share <= warmup:
        return lr * share / warmup
    return lr * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))))
