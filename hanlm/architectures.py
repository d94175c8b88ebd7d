"""Kinds of models that HanLM cannot train or score: told by their configuration, in one sentence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from hanlm.model_folder import read_config

_ENCODER_DECODERS: Final = frozenset(
    {
        *(
            "t5",
            "mt5",
            "umt5",
            "longt5",
            "switch_transformers",
            "t5gemma",
            "t5gemma2",
            "bart",
            "mbart",
            "pegasus",
            "pegasus_x",
        ),
        *("marian", "m2m_100", "nllb-moe", "blenderbot", "blenderbot-small", "led", "bigbird_pegasus", "prophetnet"),
    }
)


def require_causal(path: Path) -> None:
    """Refuse a model folder that holds no causal, decoder-only language model.

    Raises:
        InputError: If it holds an encoder and a decoder, or a prefix language model.
    """
    config = read_config(path)
    family = config.get("model_type")
    if is_encoder_decoder(config):
        raise InputError(
            f"{path} is an encoder-decoder ({family}), whose text is split between two networks; expected a causal "
            "model that predicts each token from those before it: choose a base such as LLaMA, BLOOM, OPT or GPT-2."
        )
    if _is_prefix_model(config):
        raise InputError(
            f"{path} is a prefix language model ({family}), which reads its prefix in both directions; expected a "
            "causal model that predicts each token from those before it: choose a base such as LLaMA, BLOOM or OPT."
        )


def is_encoder_decoder(config: Mapping[str, Any]) -> bool:
    """Say whether a ``config.json`` is of a model that reads with one network and writes with another."""
    return bool(config.get("is_encoder_decoder")) or config.get("model_type") in _ENCODER_DECODERS


def _is_prefix_model(config: Mapping[str, Any]) -> bool:
    """Say whether it is a GLM of the first generation (ChatGLM-6B, GLM-10B): later ones are causal."""
    return config.get("model_type") in ("chatglm", "glm") and bool(
        config.get("position_encoding_2d") or config.get("block_position_encoding")
    )
