"""The base as it is trained: in fp32, without dropout, with adapters in it where they were asked for."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from hanlm.adapters import quiet_renaming
from hanlm.errors import ConfigError
from hanlm.model_folder import num_base_tokens
from hanlm.models import load_model
from pretrain.accelerated.options import ALL_LINEAR
from pretrain.config import PretrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainee:
    """A model in training."""

    model: Any
    """The model of transformers; adapters, where there are any, are layers of it."""
    adapters: Any
    """The same as a ``PeftModel``, or None where the weights themselves are trained."""


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
    if not config.accelerate.lora_rank:
        return Trainee(model=model.train(), adapters=None)
    adapters = _add_adapters(model, config)
    return Trainee(model=adapters.get_base_model().train(), adapters=adapters)


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


def _add_adapters(model: Any, config: PretrainConfig) -> Any:
    from peft import LoraConfig, get_peft_model

    options = config.accelerate
    all_linear = options.lora_targets == (ALL_LINEAR,)
    if not all_linear:
        names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
        if missing := [target for target in options.lora_targets if target not in names]:
            raise ConfigError(
                f"--accelerate.lora-targets names {', '.join(missing)}, which the model does not have; expected "
                f"{ALL_LINEAR} or names such as {', '.join(_linear_names(model)[:3])}."
            )
    settings = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.alpha,  # pyright: ignore[reportArgumentType]
        target_modules=ALL_LINEAR if all_linear else list(options.lora_targets),
        trainable_token_indices=_new_rows(model, config),
        task_type="CAUSAL_LM",
    )
    with quiet_renaming(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to")  # GPT-2's layers are transposed: PEFT sees it
        return get_peft_model(model, settings)


def _linear_names(model: Any) -> list[str]:
    kinds = ("Linear", "Conv1D")
    return list(dict.fromkeys(n.rpartition(".")[2] for n, m in model.named_modules() if type(m).__name__ in kinds))


def _new_rows(model: Any, config: PretrainConfig) -> dict[str, list[int]] | None:
    """Return which rows of the embedding and, unless it is the same matrix, of the output layer are trained."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    first, size = num_base_tokens(config.model), len(embedding.weight)
    if first is None or first >= size:
        return None
    layers = [embedding] if head.weight is embedding.weight else [embedding, head]
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    return {names[id(layer)]: list(range(first, size)) for layer in layers}
