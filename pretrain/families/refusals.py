"""Bases that Megatron-Core does not train here, each with one sentence that says why and what to do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hanlm.architectures import is_encoder_decoder
from hanlm.errors import InputError
from pretrain.families.registry import FAMILIES

_PREFIX_LMS = frozenset({"chatglm", "glm_130b", "unilm"})
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_experts_per_tok")
_MIXTURES = frozenset({"mixtral", "deepseek_v2", "deepseek_v3", "gpt_oss", "dbrx", "olmoe", "phimoe", "jetmoe"})
_ELSEWHERE = "train it with `--backend accelerate`"

_MUST_BE: Mapping[str, tuple[Any, str]] = {
    "partial_rotary_factor": (1.0, "rotates only a part of each head"),
    "use_bidirectional_attention": (False, "lets tokens see those after them"),
    "attn_logit_softcapping": (None, "softens the scores of attention"),
    "final_logit_softcapping": (None, "softens the logits"),
    "quantization_config": (None, "holds quantised weights"),
}
"""Options that change what a model computes: the value that is supported, and what any other means."""


def refuse_family(model: Path, config: Mapping[str, Any]) -> None:
    """Refuse a base whose family Megatron-Core does not train here.

    Raises:
        InputError: One sentence with the reason and the remedy.
    """
    family = str(config.get("model_type"))
    supported = ", ".join(f.title for f in FAMILIES.values())
    if is_encoder_decoder(config):
        raise InputError(
            f"{model} is an encoder-decoder of the family {family!r}, but pretraining teaches a decoder to predict "
            f"the next token: choose a decoder-only base ({supported})."
        )
    if family in _PREFIX_LMS:
        raise InputError(
            f"{model} is of the family {family!r}, whose first model reads a prefix in both directions, but "
            f"pretraining teaches a decoder to predict the next token: choose a decoder-only base ({supported})."
        )
    if family in _MIXTURES or any(isinstance(n := config.get(key), int) and n > 1 for key in _EXPERTS):
        raise InputError(
            f"{model} is a mixture of experts ({family}), which pretraining does not support: choose a dense base "
            f"({supported})."
        )
    if family not in FAMILIES:
        raise InputError(
            f"{model} is of the family {family!r}, which pretraining on Megatron-Core does not know (it knows "
            f"{', '.join(FAMILIES)}): {_ELSEWHERE}, or choose another base."
        )


def refuse_options(model: Path, config: Mapping[str, Any], rope: Mapping[str, Any]) -> None:
    """Refuse a model of a known family for an option that its layers here do not have.

    Args:
        model: The folder, for the sentence.
        config: Its ``config.json``.
        rope: The rotary parameters in it.

    Raises:
        InputError: Names the option, its value and the remedy.
    """
    for name, (expected, meaning) in _MUST_BE.items():
        got = rope.get(name, config.get(name))
        if got is not None and got != expected:
            shown = "" if isinstance(got, Mapping) else f"={got!r}"
            remedy = "pass the folder it was quantised from" if name == "quantization_config" else _ELSEWHERE
            raise InputError(
                f"{model}/config.json has {name}{shown}: such a model {meaning}, which pretraining on Megatron-Core "
                f"does not support; {remedy}, or choose another base."
            )
