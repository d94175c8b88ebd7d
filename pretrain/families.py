"""Model families that can be pretrained, described by data: hyperparameters and the names of their weights.

A family maps every Megatron parameter to the Hugging Face tensors it is made of, and says how they combine
(``Fuse``) and along which axis tensor parallelism cuts the result (``Cut``). ``pretrain/convert.py`` applies
the maps in both directions. Measured bit-equal both ways by tests/pretrain/test_convert.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from hanlm.errors import InputError
from hanlm.model_folder import is_tied, read_config


class Fuse(Enum):
    """How Hugging Face tensors combine into one Megatron parameter."""

    NONE = "one tensor, as it is"
    QKV = "queries, keys and values, interleaved by key-value group: [queries of the group, key, value]"
    GATE_UP = "gate above up"
    VOCAB = "one row a token, padded below"


class Cut(Enum):
    """How tensor parallelism divides a Megatron parameter."""

    NONE = "every rank holds all of it"
    ROWS = "along the output features"
    COLUMNS = "along the input features"
    HALVES = "gate and up are each cut along their rows"


@dataclass(frozen=True, slots=True)
class Weight:
    """One Megatron parameter and where it comes from; ``{}`` stands for the layer's number."""

    megatron: str
    """Name in ``GPTModel``."""
    checkpoint: str
    """Key in a distributed checkpoint, where all layers share one tensor with a layer axis in front."""
    sources: tuple[str, ...]
    """Names of the Hugging Face tensors."""
    axes: tuple[str, ...]
    """Axes of each of them, by the letters of ``ModelShape.sizes``."""
    fuse: Fuse
    cut: Cut

    @property
    def is_layered(self) -> bool:
        """Whether there is one of it in each layer."""
        return "{}" in self.megatron


_LAYER = "decoder.layers.{}."
_STACK = "decoder.layers."
_HF = "model.layers.{}."
_ATTENTION = tuple(f"{_HF}self_attn.{x}_proj.weight" for x in "qkv")

LLAMA = (
    Weight(
        "embedding.word_embeddings.weight",
        "embedding.word_embeddings.weight",
        ("model.embed_tokens.weight",),
        ("VD",),
        Fuse.VOCAB,
        Cut.ROWS,
    ),
    Weight(
        f"{_LAYER}input_layernorm.weight",
        f"{_STACK}self_attention.linear_qkv.layer_norm_weight",
        (f"{_HF}input_layernorm.weight",),
        ("D",),
        Fuse.NONE,
        Cut.NONE,
    ),
    Weight(
        f"{_LAYER}self_attention.linear_qkv.weight",
        f"{_STACK}self_attention.linear_qkv.weight",
        _ATTENTION,
        ("QD", "KD", "KD"),
        Fuse.QKV,
        Cut.ROWS,
    ),
    Weight(
        f"{_LAYER}self_attention.linear_proj.weight",
        f"{_STACK}self_attention.linear_proj.weight",
        (f"{_HF}self_attn.o_proj.weight",),
        ("DQ",),
        Fuse.NONE,
        Cut.COLUMNS,
    ),
    Weight(
        f"{_LAYER}pre_mlp_layernorm.weight",
        f"{_STACK}mlp.linear_fc1.layer_norm_weight",
        (f"{_HF}post_attention_layernorm.weight",),
        ("D",),
        Fuse.NONE,
        Cut.NONE,
    ),
    Weight(
        f"{_LAYER}mlp.linear_fc1.weight",
        f"{_STACK}mlp.linear_fc1.weight",
        (f"{_HF}mlp.gate_proj.weight", f"{_HF}mlp.up_proj.weight"),
        ("FD", "FD"),
        Fuse.GATE_UP,
        Cut.HALVES,
    ),
    Weight(
        f"{_LAYER}mlp.linear_fc2.weight",
        f"{_STACK}mlp.linear_fc2.weight",
        (f"{_HF}mlp.down_proj.weight",),
        ("DF",),
        Fuse.NONE,
        Cut.COLUMNS,
    ),
    Weight(
        "decoder.final_layernorm.weight",
        "decoder.final_layernorm.weight",
        ("model.norm.weight",),
        ("D",),
        Fuse.NONE,
        Cut.NONE,
    ),
    Weight("output_layer.weight", "output_layer.weight", ("lm_head.weight",), ("VD",), Fuse.VOCAB, Cut.ROWS),
)

_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")

FAMILIES: Mapping[str, tuple[Weight, ...]] = {"llama": LLAMA}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Hyperparameters of a base model, family-neutral."""

    family: str
    num_layers: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int
    max_positions: int
    norm_eps: float
    rope_theta: float
    is_tied: bool
    """Whether the output layer is the embedding."""

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The family's weights that this model has."""
        return tuple(w for w in FAMILIES[self.family] if not (self.is_tied and w.megatron == "output_layer.weight"))

    @property
    def sizes(self) -> Mapping[str, int]:
        """Vocabulary, hidden, feed-forward, queries, and keys (or values): the lengths of the tensors' axes."""
        queries, keys = self.num_heads * self.head_size, self.num_kv_heads * self.head_size
        return {"V": self.vocab_size, "D": self.hidden_size, "F": self.ffn_size, "Q": queries, "K": keys}


def read_shape(model: Path) -> ModelShape:
    """Return the hyperparameters in a model folder's ``config.json``.

    Raises:
        InputError: If the family, or an option it uses, is not supported, or a size is missing.
    """
    config = read_config(model)
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise InputError(
            f"{model} is of the family {family!r}; expected one of {', '.join(FAMILIES)}: choose such a base."
        )
    _refuse_options(model, config)
    layers, hidden, ffn, heads, vocab = (_size(model, config, name) for name in _SIZES)
    return ModelShape(
        family=family,
        num_layers=layers,
        hidden_size=hidden,
        ffn_size=ffn,
        num_heads=heads,
        num_kv_heads=_size(model, config, "num_key_value_heads", heads),
        head_size=_size(model, config, "head_dim", hidden // heads),
        vocab_size=vocab,
        max_positions=int(config.get("max_position_embeddings", 2048)),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        rope_theta=float(_rope(config).get("rope_theta") or config.get("rope_theta") or 10_000.0),
        is_tied=is_tied(config),
    )


def _size(model: Path, config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = default if config.get(name) is None else config[name]
    if not isinstance(value, int) or value < 1:
        raise InputError(
            f"{model}/config.json should hold {name} as a positive number, got {value!r}; restore it from its source."
        )
    return value


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rotary parameters: transformers 5 calls them ``rope_parameters``, 4 ``rope_scaling``."""
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def _refuse_options(model: Path, config: Mapping[str, Any]) -> None:
    rope = _rope(config)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    wanted = {
        "rope_type": (kind, "default"),
        "hidden_act": (config.get("hidden_act", "silu"), "silu"),
        "attention_bias": (bool(config.get("attention_bias", False)), False),
        "mlp_bias": (bool(config.get("mlp_bias", False)), False),
    }
    for name, (got, expected) in wanted.items():
        if got != expected:
            raise InputError(
                f"{model}/config.json has {name}={got!r}; pretraining supports {expected!r} only: choose another base."
            )
