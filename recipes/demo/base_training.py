"""Training the demo base from random weights: packed documents, one short loop.

Shape suffixes: B rows, T tokens.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

MATRIX_LR_SCALE = 2.5
"""Muon's learning rate over AdamW's: its updates are scaled to AdamW's typical size, and bear larger ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The architecture; the defaults give 5.0 M parameters, of which 2.0 M are the tied embedding."""

    vocab_size: int = 8000
    """Pieces of the vocabulary, and rows of the embedding."""
    hidden_size: int = 256
    """Width of the residual stream."""
    intermediate_size: int = 704
    """Width of the SwiGLU layer."""
    num_layers: int = 4
    """Decoder layers."""
    num_heads: int = 8
    """Query heads."""
    num_kv_heads: int = 4
    """Key and value heads (grouped-query attention)."""
    max_length: int = 512
    """Context, in tokens; training rows have this length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How long to train. Either `seconds` or `num_steps` ends it; the learning rate falls towards that end."""

    seconds: float = 2700.0
    """Wall time of training, unless `num_steps` is given."""
    num_steps: int = 0
    """Optimizer steps; 0 trains for `seconds`. Only a run by steps can be repeated exactly."""
    batch_size: int = 4
    """Rows per step."""
    lr: float = 2e-3
    """Highest learning rate of embedding and norms (AdamW); the matrices' is 2.5 times that (Muon)."""
    warmup_fraction: float = 0.03
    """Part of the budget in which the learning rate rises."""
    save_seconds: float = 240.0
    """Seconds between intermediate saves."""

    def progress(self, step: int, elapsed_seconds: float) -> float:
        """Return the part of the budget that is spent, from 0 to 1."""
        spent = step / self.num_steps if self.num_steps else elapsed_seconds / self.seconds
        return min(1.0, spent)

    def lr_factor(self, progress: float) -> float:
        """Return the learning rate over its maximum: linear warmup, then a cosine down to 2%."""
        if progress < self.warmup_fraction:
            return max(0.01, progress / self.warmup_fraction)
        phase = (progress - self.warmup_fraction) / (1 - self.warmup_fraction)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * phase))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What a training run did."""

    num_steps: int
    """Optimizer steps."""
    num_tokens: int
    """Tokens trained on."""
    seconds: float
    """Wall time of the loop after its first step."""


def new_model(shape: Shape, seed: int) -> "LlamaForCausalLM":
    """Return a LLaMA with random weights in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        max_position_embeddings=shape.max_length,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        pad_token_id=3,
    )
    model = LlamaForCausalLM(config)
    # Layers that write to the residual stream start smaller, so that its variance does not grow with depth.
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.data.div_(math.sqrt(2 * shape.num_layers))
    return model


def packed_rows(stream: NDArray[np.uint16], shape: Shape, budget: Budget, seed: int) -> Iterator["torch.Tensor"]:
    """Yield batches [B, T + 1] of the token stream for ever, every row once before any row again."""
    import torch

    length = shape.max_length
    num_rows = (len(stream) - 1) // length
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(num_rows)
        for start in range(0, num_rows - budget.batch_size + 1, budget.batch_size):
            rows = [stream[i * length : (i + 1) * length + 1] for i in order[start : start + budget.batch_size]]
            yield torch.from_numpy(np.stack(rows).astype(np.int64))


def train(
    model: "LlamaForCausalLM",
    batches: Iterator["torch.Tensor"],
    budget: Budget,
    save: Callable[["LlamaForCausalLM", str], None],
    *,
    compile_model: bool = False,
) -> Trained:
    """Train in place; matrices by Muon, the rest by AdamW, in bf16 autocast over float32 weights.

    Muon (Jordan et al. 2024, scaled as in arXiv:2502.16982) is reported to need fewer tokens than AdamW for the same
    loss, and on two cores tokens are what is scarce; that was not measured here.

    Args:
        save: Called every `save_seconds` with the model and a sentence on how far it is.
        compile_model: Use torch.compile: about 15% faster after a minute of compiling.
    """
    import torch

    forward: Any = torch.compile(model) if compile_model else model
    optimizers = _optimizers(model, budget)
    step, num_tokens, loss_sum, loss_steps = 0, 0, 0.0, 0
    started = last_save = time.monotonic()
    model.train()
    while (progress := budget.progress(step, time.monotonic() - started)) < 1:
        rows_BT = next(batches)
        for optimizer, lr in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * budget.lr_factor(progress)
        loss = _loss(forward, rows_BT)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, num_tokens = step + 1, num_tokens + rows_BT[:, 1:].numel()
        if step == 1:  # compiling is no training: it took 150 s of a contended machine, more than the warmup
            started = time.monotonic()
        loss_sum, loss_steps = loss_sum + loss.item(), loss_steps + 1
        if loss_steps == 20:
            elapsed = time.monotonic() - started
            print(
                f"step {step} {progress:.1%} loss {loss_sum / 20:.3f} {num_tokens / elapsed:,.0f} tokens/s", flush=True
            )
            loss_sum, loss_steps = 0.0, 0
        if time.monotonic() - last_save > budget.save_seconds:
            save(model, f"step {step}, {num_tokens:,} tokens")
            last_save = time.monotonic()
    return Trained(num_steps=step, num_tokens=num_tokens, seconds=time.monotonic() - started)


def _loss(forward: Any, rows_BT: "torch.Tensor") -> "torch.Tensor":
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        logits = forward(input_ids=rows_BT[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows_BT[:, 1:].flatten())


def _optimizers(model: "LlamaForCausalLM", budget: Budget) -> list[tuple[Any, float]]:
    import torch

    embedding = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
    others = [p for p in model.parameters() if p.ndim != 2 or p is embedding]
    muon = torch.optim.Muon(matrices, lr=budget.lr, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(others, lr=budget.lr, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    return [(muon, MATRIX_LR_SCALE * budget.lr), (adamw, budget.lr)]
