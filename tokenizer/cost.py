"""What one token costs a model, in operations and in bytes read, against the rows of its vocabulary matrices."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hanlm.errors import InputError
from hanlm.model_folder import is_tied, read_config, read_object
from tokenizer.base import Base

TRAINING_PASSES: Final = 3
"""Forward, and backward through activations and through weights. Source: Kaplan et al. 2020 (arXiv:2001.08361), 2.1."""

TRAINING_BYTES: Final = 16
"""Per parameter: 16-bit weight and gradient, and Adam's two moments and master copy in 32 bits. Source: Rajbhandari et
al. 2020, ZeRO (arXiv:1910.02054), 3.1."""

_NAMES: Final = {
    "hidden_size": ("hidden_size", "n_embd", "n_embed", "d_model"),
    "num_layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "num_heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "num_rows": ("vocab_size",),
}
"""What the families' configurations call the same thing."""

_TWO_MATRICES: Final = (
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gptj",
    "codegen",
    "opt",
    "bloom",
    "falcon",
    "mpt",
    "nemotron",
    "phi",
    "starcoder2",
)
"""Families whose MLP has no gate."""
_MULTI_QUERY: Final = ("falcon", "gpt_bigcode")
"""Families with one head of keys and values unless ``multi_query`` says no."""
_ITEM_BYTES: Final = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The sizes of a decoder-only transformer that decide its costs."""

    name: str
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    """Of the MLP; with experts, of all that one token visits."""
    num_mlp_matrices: int = 3
    num_rows: int
    """Of each vocabulary matrix, before any are added."""
    tied: bool = False
    """Whether the embedding is the output matrix too."""
    item_bytes: int = 2
    """Per weight and per element of the key-value cache."""

    @property
    def num_body_params(self) -> int:
        """Weights of the matrices that every token passes, without embedding and output."""
        attention = 2 * self.hidden_size * self.head_dim * (self.num_heads + self.num_kv_heads)
        return self.num_layers * (attention + self.num_mlp_matrices * self.hidden_size * self.intermediate_size)

    def forward_flops(self, num_rows: int, num_context: float) -> float:
        """Return the operations of one token's forward pass, a multiplication and an addition counted as two.

        Args:
            num_rows: Rows of the output matrix. (Looking up an embedding is no operation.)
            num_context: Positions the token attends to.
        """
        attention = 4 * self.num_layers * self.num_heads * self.head_dim * num_context  # scores, and their mean
        return 2 * (self.num_body_params + self.hidden_size * num_rows) + attention

    def training_flops(self, num_rows: int, num_context: float) -> float:
        """Return the operations of training on one token."""
        return TRAINING_PASSES * self.forward_flops(num_rows, num_context)

    def decoded_bytes(self, num_rows: int, num_context: float) -> float:
        """Return what is read from memory to generate one token of one text: all weights, and the cache.

        Generating one text at a time waits for memory, not for arithmetic (Shazeer 2019, arXiv:1911.02150).
        """
        cache = 2 * self.num_layers * self.num_kv_heads * self.head_dim * num_context
        return self.item_bytes * (self.num_body_params + self.hidden_size * (num_rows + 1) + cache)

    def num_row_params(self, num_rows: int) -> int:
        """Return the weights of so many vocabulary rows."""
        return num_rows * self.hidden_size * (1 if self.tied else 2)


LLAMA_2_7B: Final = ModelShape(
    name="LLaMA-2-7B",
    hidden_size=4096,
    num_layers=32,
    num_heads=32,
    num_kv_heads=32,
    head_dim=128,
    intermediate_size=11008,
    num_rows=32000,
)
"""Stands in where a tokenizer comes without a model. Source: Touvron et al. 2023 (arXiv:2307.09288), and its config."""


def advised_shape(base: Base, given: Path | None) -> ModelShape:
    """Return the shape of the model that is advised on: the one given, else the base's own, else LLaMA-2-7B's.

    Raises:
        InputError: If a configuration is missing or does not tell.
    """
    if given is not None:
        folder = given if given.is_dir() else given.parent
        return shape_of(read_config(given) if given.is_dir() else _read_file(given), folder.resolve().name)
    if base.config is not None:
        return shape_of(base.config, base.path.name)
    return replace(LLAMA_2_7B, num_rows=base.num_tokens)


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"there is no config.json at {path}; check --advise-for.")
    return read_object(path)


def shape_of(config: Mapping[str, Any], name: str) -> ModelShape:
    """Read a model's shape from its ``config.json``.

    Raises:
        InputError: If the configuration does not tell one.
    """
    found: dict[str, int] = {}
    for key, names in _NAMES.items():
        value = next((config[n] for n in names if n in config), None)
        if not isinstance(value, int) or value < 1:
            raise InputError(
                f"expected a {names[0]} in the config.json of {name} to reckon costs with, got {value!r}; pass "
                "--advise-for with a config.json that has one."
            )
        found[key] = value
    hidden, heads, family = found["hidden_size"], found["num_heads"], config.get("model_type")
    return ModelShape(
        name=name,
        **found,
        num_kv_heads=_num_kv_heads(config, heads),
        head_dim=config.get("head_dim") or hidden // heads,
        intermediate_size=_intermediate_size(config, hidden),
        num_mlp_matrices=2 if family in _TWO_MATRICES else 3,
        tied=is_tied(config),
        item_bytes=_ITEM_BYTES.get(str(config.get("dtype") or config.get("torch_dtype")), 2),
    )


def _num_kv_heads(config: Mapping[str, Any], heads: int) -> int:
    # Falcon-7B's config.json names as many num_kv_heads as heads, and transformers builds one: only its larger
    # siblings' architecture looks at the number.
    if config.get("model_type") in _MULTI_QUERY and not config.get("new_decoder_architecture"):
        return 1 if config.get("multi_query", True) else heads
    return config.get("num_key_value_heads") or config.get("num_kv_heads") or heads


def _intermediate_size(config: Mapping[str, Any], hidden: int) -> int:
    names = ("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner")
    dense = next((config[name] for name in names if config.get(name)), 4 * hidden)
    visited = config.get("num_experts_per_tok")
    if not visited:
        return dense
    expert = config.get("moe_intermediate_size") or dense
    shared = config.get("shared_expert_intermediate_size") or expert * (config.get("n_shared_experts") or 0)
    return expert * visited + shared
