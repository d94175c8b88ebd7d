"""What HanLM knows of a family of models: its weights, and how its ``config.json`` is read. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pretrain.families.weights import Weight


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family by its ``model_type``."""

    title: str
    """Models that belong to it, for people."""
    weights: tuple[Weight, ...]
    """The map between Megatron's parameters and Hugging Face's tensors."""
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What transformers takes where ``config.json`` leaves a key out, as far as it differs from LLaMA."""
    options: Mapping[str, bool | str] = field(default_factory=dict[str, bool | str])
    """Options of ``ModelShape``: what every model of the family has, or the key of ``config.json`` that says so."""
    activations: Mapping[str, str] = field(default_factory=lambda: {"silu": "silu"})
    """Spellings of ``hidden_act`` that are supported, and the activation that each means."""
    window: str | None = None
    """The key of ``config.json`` that holds the width of a sliding window."""
    window_switch: str | None = None
    """The key that must be true for the window to count; without it the window always counts."""
