"""LoRA out of a checkpoint: merged into the model's tensors, and as an adapter that PEFT loads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pretrain.convert import ReadKey
from pretrain.export_weights import Update
from pretrain.families import Fuse, ModelShape
from pretrain.lora import checkpoint_key, projections
from pretrain.lora_config import LoraConfig


def merge(read: ReadKey, config: LoraConfig) -> Update:
    """Return what adds to a tensor of the model its low-rank update, if it has one; all in fp32."""

    def merged(name: str, tensor: torch.Tensor) -> torch.Tensor:
        projection, is_weight = name.removesuffix(".weight"), name.endswith(".weight")
        if not is_weight or projection.rpartition(".")[2] not in config.targets:
            return tensor
        a_RD, b_OR = (read(checkpoint_key(projection, side), None) for side in "ab")
        return tensor + config.scale * (b_OR @ a_RD)

    return merged


def write_adapter(
    read: ReadKey, folder: Path, config: LoraConfig, shape: ModelShape, *, base: Path, rows: Sequence[int]
) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``.

    Args:
        read: Gives the tensors of a finished checkpoint.
        folder: Where to.
        config: Rank, scale and targets.
        shape: The model's hyperparameters.
        base: The model that the adapter is for.
        rows: Tokens whose rows were trained beside the updates.
    """
    from peft import LoraConfig as PeftConfig
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for projection in _projections(shape, config):
        for side in "ab":
            name = f"base_model.model.{projection}.lora_{side.upper()}.weight"
            tensors[name] = read(checkpoint_key(projection, side), None)
    tables = {w.sources[0].removesuffix(".weight"): w.checkpoint for w in shape.weights if w.fuse is Fuse.VOCAB}
    for module, key in tables.items() if rows else ():
        name = f"base_model.model.{module}.token_adapter.trainable_tokens_delta"
        tensors[name] = read(key, None)[list(rows)].contiguous()
    settings: Any = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # pyright: ignore[reportArgumentType]
        target_modules=list(config.targets),
        trainable_token_indices={module.rpartition(".")[2]: list(rows) for module in tables} if rows else None,
        base_model_name_or_path=str(base),
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    settings.save_pretrained(str(folder))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _projections(shape: ModelShape, config: LoraConfig) -> list[str]:
    """Return the projections that have an update, by their Hugging Face names, layer by layer."""
    return [
        source.removesuffix(".weight")
        for weight, layer in shape.parameters()
        for source, projection in zip(weight.tensors(layer), projections(weight), strict=False)
        if projection in config.targets
    ]
