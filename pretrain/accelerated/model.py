"""The base as it is trained: in fp32, without dropout, with low-rank updates in it where a phase trains them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hanlm.adapters import quiet_renaming
from hanlm.errors import ConfigError
from hanlm.models import load_model
from pretrain.config import PretrainConfig
from pretrain.trainable.blocks import new_layers
from pretrain.trainable.lora_config import ALL_LINEAR, LoraConfig
from pretrain.trainable.lora_start import initial_a
from pretrain.trainable.trained import num_old_tokens

_LINEAR = ("Linear", "Conv1D")
ADAPTER = "default"
"""PEFT's name of the one adapter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainee:
    """A model in training."""

    model: Any
    """The model of transformers; low-rank updates, where there are any, are layers of it."""
    updates: Mapping[str, Any]
    """The layers of PEFT's that have one, by the Hugging Face names of the layers that they stand for."""
    tables: Mapping[str, torch.nn.Parameter]
    """The embedding and, unless it is the same matrix, the output layer, by name."""
    num_base_tokens: int
    """Rows of the vocabulary before those of new tokens; 0 where there are none of these."""
    new_layers: tuple[int, ...]
    """Layers that `hanlm expand-blocks` added."""

    def is_in_new_block(self, name: str) -> bool:
        """Say whether a parameter lies in a layer that was added; only LLaMA's relatives can be made deeper."""
        return any(name.startswith(f"model.layers.{layer}.") for layer in self.new_layers)

    def group(self, name: str) -> str | None:
        """Return the group of a parameter (``pretrain/trainable/param_groups.py``), or None where it is in none."""
        if is_update(name):
            return "lora_b" if ".lora_B." in name else None
        if name in self.tables:
            return "embeddings" if self.tables[name] is self.model.get_input_embeddings().weight else "head"
        if self.is_in_new_block(name):
            return "new_blocks"
        owner = self.model.get_submodule(name.rpartition(".")[0])
        return "norms" if "Norm" in type(owner).__name__ else None


def is_update(name: str) -> bool:
    """Say whether a parameter of that name is part of a low-rank update."""
    return name.endswith((f".lora_A.{ADAPTER}.weight", f".lora_B.{ADAPTER}.weight"))


def load_trainee(config: PretrainConfig, device: torch.device) -> Trainee:
    """Return the base on its device, ready to be trained.

    Raises:
        InputError: If the base is damaged.
        ConfigError: If a target of LoRA names no layer of it.
    """
    model: Any = load_model(config.model, dtype=torch.float32, device=str(device))
    without_dropout(model)
    if config.accelerate.gradient_checkpointing:
        with warnings.catch_warnings():
            # transformers 5.23 renames it; the new name is not in every version that is supported.
            warnings.filterwarnings("ignore", "`gradient_checkpointing_enable` is deprecated", FutureWarning)
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    updates = _add_updates(model, config.lora, config.seed) if config.has_lora else {}
    old = num_old_tokens(config.model, vocab_size=len(model.get_input_embeddings().weight))
    deeper = new_layers(config.model, num_layers=model.config.get_text_config(decoder=True).num_hidden_layers)
    return Trainee(model=model.train(), updates=updates, tables=_tables(model), num_base_tokens=old, new_layers=deeper)


def _tables(model: Any) -> dict[str, torch.nn.Parameter]:
    wanted = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    return {name: p for name, p in model.named_parameters() if id(p) in wanted}


def without_dropout(model: Any) -> None:
    """Turn off every dropout, whether it is a module or a number that attention is called with.

    As Megatron's backend has none: a step's loss then depends on its samples alone, not on how many processes share
    them out, and no random state has to be kept in a checkpoint.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def _add_updates(model: Any, config: LoraConfig, seed: int) -> dict[str, Any]:
    """Put PEFT's layers into the model, beginning where Megatron's backend begins."""
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model

    _check_targets(model, config)
    settings = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # pyright: ignore[reportArgumentType]
        target_modules=ALL_LINEAR if config.is_all_linear else list(config.targets),
        task_type="CAUSAL_LM",
    )
    with quiet_renaming(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to")  # GPT-2's layers are transposed: PEFT sees it
        get_peft_model(model, settings)
    updates = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    for name, layer in updates.items():
        matrix = layer.lora_A[ADAPTER].weight
        with torch.no_grad():
            matrix.copy_(initial_a(name, *matrix.shape, seed=seed))
    return updates


def _check_targets(model: Any, config: LoraConfig) -> None:
    """Refuse names of no linear layer.

    Raises:
        ConfigError: Names them, and layers that there are.
    """
    if config.is_all_linear:
        return
    head = model.get_output_embeddings()
    layers = [n for n, m in model.named_modules() if type(m).__name__ in _LINEAR and m is not head]
    if missing := [t for t in config.targets if not any(f".{layer}".endswith(f".{t}") for layer in layers)]:
        known = list(dict.fromkeys(layer.rpartition(".")[2] for layer in layers))
        raise ConfigError(
            f"--lora.targets names {', '.join(missing)}, which is no linear layer of this model (the output layer "
            f"trains by --rows); expected {ALL_LINEAR} or names such as {', '.join(known[:3])}."
        )
