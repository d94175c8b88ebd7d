"""Reading a base's hyperparameters, strictly: what is not understood is refused, never guessed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hanlm.errors import InputError
from hanlm.model_folder import is_tied, read_config
from pretrain.families.family import Family
from pretrain.families.refusals import refuse_family, refuse_options
from pretrain.families.registry import FAMILIES
from pretrain.families.shape import ModelShape, RopeScaling

_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor")


def read_shape(model: Path) -> ModelShape:
    """Return the hyperparameters in a model folder's ``config.json``.

    Raises:
        InputError: If the family, or an option it uses, is not supported, or a size is missing.
    """
    given = read_config(model)
    refuse_family(model, given)
    family = FAMILIES[str(given["model_type"])]
    config = dict(family.defaults) | given
    rope = _rope(model, config)
    refuse_options(model, config, rope)
    layers, hidden, ffn, heads, vocab = (_size(model, config, name) for name in _SIZES)
    return ModelShape(
        family=str(given["model_type"]),
        num_layers=layers,
        hidden_size=hidden,
        ffn_size=ffn,
        num_heads=heads,
        num_kv_heads=_size(model, config, "num_key_value_heads", heads),
        head_size=_size(model, config, "head_dim", hidden // heads),
        vocab_size=vocab,
        max_positions=_size(model, config, "max_position_embeddings", 2048),
        norm_eps=_number(model, config, "rms_norm_eps", 1e-6),
        rope_theta=_number(model, rope, "rope_theta", _number(model, config, "rope_theta", 10_000.0)),
        rope_scaling=_rope_scaling(model, config, rope),
        is_tied=is_tied(config),
        activation=_activation(model, config, family),
        window=_window(model, config, family, num_layers=layers),
        **{name: bool(config.get(key)) if isinstance(key, str) else key for name, key in family.options.items()},
    )


def _size(model: Path, config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = default if config.get(name) is None else config[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(
            f"{model}/config.json should hold {name} as a positive number, got {value!r}; restore it from its source."
        )
    return value


def _activation(model: Path, config: Mapping[str, Any], family: Family) -> str:
    name = config.get("hidden_act", "silu")
    if name not in family.activations:
        raise InputError(
            f"{model}/config.json has hidden_act={name!r}; pretraining supports {', '.join(family.activations)} in "
            "this family: choose another base."
        )
    return family.activations[name]


def _window(model: Path, config: Mapping[str, Any], family: Family, *, num_layers: int) -> int | None:
    """Return the width of the window, None where every layer sees everything before it."""
    if family.window is None or config.get(family.window) is None:
        return None
    if family.window_switch is not None:
        kinds = config.get("layer_types")
        slides = "sliding_attention" in kinds if kinds else config.get("max_window_layers") in range(num_layers)
        if not (config.get(family.window_switch) and slides):
            return None
    return _size(model, config, family.window)


def _rope(model: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rotary parameters: transformers 5 calls them ``rope_parameters``, 4 ``rope_scaling``."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise InputError(
            f"{model}/config.json should hold its rotary parameters as an object, got {rope!r}; "
            "restore it from its source."
        )
    return rope  # pyright: ignore[reportUnknownVariableType]


def _rope_scaling(model: Path, config: Mapping[str, Any], rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling(kind="linear", factor=_number(model, rope, "factor"))
    if kind == "llama3":
        factor, low, high = (_number(model, rope, name) for name in _LLAMA3)
        positions = _size(model, config, "max_position_embeddings", 2048)
        original = _size(model, rope, "original_max_position_embeddings", positions)
        return RopeScaling(
            kind="llama3", factor=factor, low_freq_factor=low, high_freq_factor=high, original_positions=original
        )
    raise InputError(
        f"{model}/config.json has rope_type={kind!r}; pretraining supports default, linear and llama3: take the "
        "scaling out of a copy if the base was trained without it, or choose another base."
    )


def _number(model: Path, values: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = default if values.get(name) is None else values[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise InputError(
            f"{model}/config.json should hold {name} as a positive number, got {value!r}; restore it from its source."
        )
    return float(value)
