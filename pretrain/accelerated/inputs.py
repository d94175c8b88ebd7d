"""What the accelerate backend refuses before anything starts."""

import dataclasses
from typing import Any

from hanlm.architectures import require_causal
from hanlm.errors import ConfigError, InputError
from hanlm.model_folder import check_model_folder
from pretrain.accelerated.options import AccelerateOptions
from pretrain.config import PretrainConfig

_MEGATRON_ONLY = ("tensor_parallel", "pipeline_parallel", "virtual_pipeline", "sequence_parallel")
_NOT_YET = {
    "isolate_documents": "pack without it",
    "recompute": "pass --accelerate.gradient-checkpointing",
    "distributed_optimizer": "leave it out: every process holds all moments",
    "layers": "leave it out: layers are those of transformers",
    "fp8": "leave it out",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BaseSize:
    """How large a base is."""

    num_layers: int
    hidden_size: int
    vocab_size: int
    is_tied: bool
    """Whether the output layer is the embedding."""


def check_options(config: PretrainConfig) -> None:
    """Refuse options of one backend that are given to the other.

    Raises:
        ConfigError: Names the options.
    """
    if config.backend == "megatron":
        if config.accelerate != AccelerateOptions():
            raise ConfigError("--accelerate.* are options of another backend; add --backend accelerate.")
        return
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    if given := [name for name in _MEGATRON_ONLY if getattr(config, name) != defaults[name]]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(
            f"{flags} cannot apply with --backend accelerate, where every process holds the whole model and the batch "
            "is what is divided; leave it out, or use --backend megatron where it fits the model."
        )
    for name, remedy in _NOT_YET.items():
        if getattr(config, name) != defaults[name]:
            raise ConfigError(f"--{name.replace('_', '-')} is for --backend megatron; with accelerate {remedy}.")
    if config.saving.asynchronous:
        raise ConfigError(
            "--saving.asynchronous is for --backend megatron; with accelerate leave it out: training waits for a save."
        )


def check_base(config: PretrainConfig) -> BaseSize:
    """Return the sizes of a base that transformers can train.

    Raises:
        InputError: If the folder is unsafe or damaged, or no causal model that transformers knows by itself.
        ConfigError: If the sequences are longer than the model's positions.
    """
    require_causal(config.model)
    check_model_folder(config.model, code_remedy="pretrain runs none: choose a base that transformers knows by itself")
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        base: Any = AutoConfig.from_pretrained(str(config.model), local_files_only=True)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{config.model}/config.json is of no model that transformers knows ({error}).") from error
    if base.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise InputError(
            f"{config.model} is of the family {base.model_type!r}, of which transformers has no causal language model; "
            "choose another base."
        )
    positions = getattr(base, "max_position_embeddings", None)  # none where positions are distances, as in BLOOM
    if isinstance(positions, int) and config.seq_length > positions:
        raise ConfigError(f"--seq-length {config.seq_length} is beyond the model's {positions} positions.")
    text: Any = base.get_text_config(decoder=True)
    return BaseSize(
        num_layers=text.num_hidden_layers,
        hidden_size=text.hidden_size,
        vocab_size=text.vocab_size,
        is_tied=bool(text.tie_word_embeddings),
    )
