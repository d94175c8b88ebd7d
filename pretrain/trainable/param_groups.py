"""Groups of weights that can have a learning rate of their own."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from hanlm.errors import ConfigError

_ROWS = ("embeddings", "head")
_GROUPS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "all": (*_ROWS, "norms", "new_blocks"),
        "embeddings": _ROWS,
        "new_rows": _ROWS,
        "lora": (*_ROWS, "lora_b"),
        "new_blocks": _ROWS,
    }
)
"""For each kind of phase the groups that train in it, beside those weights that the phase is for."""


def check_group_rates(rates: Mapping[str, float], trainable: str, *, has_rows: bool) -> None:
    """Refuse rates of groups that a phase does not train, and rates that are none.

    Args:
        rates: Highest rate by group.
        trainable: What the phase trains.
        has_rows: Whether it trains rows of the embedding beside that.

    Raises:
        ConfigError: Names the group.
    """
    known = [name for name in _GROUPS[trainable] if has_rows or name not in _ROWS or trainable in ("all", *_ROWS)]
    for name, rate in rates.items():
        if name not in known:
            expected = ", ".join(known) or "none"
            raise ConfigError(f"group_lr: a phase of {trainable} expects some of {expected}; got {name!r}.")
        if rate <= 0:
            raise ConfigError(f"group_lr: expected a positive rate of {name}, got {rate:g}.")


def group_of(name: str, *, num_axes: int, is_new_block: bool, is_tied: bool) -> str | None:
    """Return the group of a weight, or None where it is in none.

    Args:
        name: Its name, Megatron's or Hugging Face's.
        num_axes: How many axes it has.
        is_new_block: Whether it lies in a layer that `hanlm expand-blocks` added.
        is_tied: Whether the output layer is the embedding, of which the last stage of a pipeline holds a copy.
    """
    if name.startswith("lora."):
        return "lora_b" if name.endswith("_b") else None
    if any(word in name for word in ("embed", "output_layer", "lm_head")):
        return "head" if not is_tied and "embed" not in name else "embeddings"
    if is_new_block:
        return "new_blocks"
    return "norms" if num_axes == 1 and "norm" in name else None
