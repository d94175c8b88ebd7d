"""LoRA as an adapter that PEFT loads, whichever backend trained it; and out of Megatron's checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pretrain.families import Fuse, ModelShape
from pretrain.trainable.lora import checkpoint_key
from pretrain.trainable.lora_config import LoraConfig
from pretrain.weights.convert import ReadKey
from pretrain.weights.export_weights import Update

_CARD = """---
library_name: peft
---

# LoRA adapter

Trained by `hanlm pretrain`. It fits only the base model whose hash `manifest.json` names under `inputs`.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What LoRA learned."""

    updates: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    """A and B of every layer that has an update, by its Hugging Face name."""
    rows: Mapping[str, torch.Tensor]
    """The rows of the vocabulary that trained beside them, by the name of their table; none where none did."""
    row_ids: Sequence[int]
    """Their tokens."""
    targets: tuple[str, ...]
    """Ends of the names of the layers."""
    fan_in_fan_out: bool = False
    """Whether the base stores the weights of these layers transposed, as GPT-2 does."""


def write_adapter(folder: Path, learned: Learned, config: LoraConfig, *, base: Path) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``, for PEFT to load on ``base``."""
    from peft import LoraConfig as PeftConfig
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for layer, matrices in learned.updates.items():
        for side, matrix in zip("AB", matrices, strict=True):
            tensors[f"base_model.model.{layer}.lora_{side}.weight"] = matrix.contiguous()
    for table, rows in learned.rows.items():
        tensors[f"base_model.model.{table}.token_adapter.trainable_tokens_delta"] = rows.contiguous()
    trained = {table.rpartition(".")[2]: list(learned.row_ids) for table in learned.rows}
    settings: Any = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # pyright: ignore[reportArgumentType]
        target_modules=list(learned.targets),
        trainable_token_indices=trained or None,
        fan_in_fan_out=learned.fan_in_fan_out,
        base_model_name_or_path=str(base),
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    settings.save_pretrained(str(folder))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "README.md").write_text(_CARD, encoding="utf-8")


def merge(read: ReadKey, config: LoraConfig) -> Update:
    """Return what adds to a tensor of the model its low-rank update, if it has one; all in fp32."""

    def merged(name: str, tensor: torch.Tensor) -> torch.Tensor:
        projection, is_weight = name.removesuffix(".weight"), name.endswith(".weight")
        if not is_weight or projection.rpartition(".")[2] not in config.projections:
            return tensor
        a_RD, b_OR = (read(checkpoint_key(projection, side), None) for side in "ab")
        return tensor + config.scale * (b_OR @ a_RD)

    return merged


def learned_by_megatron(read: ReadKey, config: LoraConfig, shape: ModelShape, row_ids: Sequence[int]) -> Learned:
    """Return what LoRA learned.

    Args:
        read: Gives the tensors of a finished checkpoint.
        config: Rank, scale and targets.
        shape: The model's hyperparameters.
        row_ids: Tokens whose rows were trained beside the updates.
    """
    layers = _projections(shape, config)
    tables = {w.sources[0].removesuffix(".weight"): w.checkpoint for w in shape.weights if w.fuse is Fuse.VOCAB}
    return Learned(
        updates={
            layer: (read(checkpoint_key(layer, "a"), None), read(checkpoint_key(layer, "b"), None)) for layer in layers
        },
        rows={table: read(key, None)[list(row_ids)] for table, key in tables.items()} if row_ids else {},
        row_ids=row_ids,
        targets=config.projections,
    )


def _projections(shape: ModelShape, config: LoraConfig) -> list[str]:
    """Return the projections that have an update, by their Hugging Face names, layer by layer."""
    return [
        source.removesuffix(".weight")
        for weight, layer in shape.parameters()
        for source, projection in zip(weight.tensors(layer), weight.projections, strict=False)
        if projection in config.projections
    ]
