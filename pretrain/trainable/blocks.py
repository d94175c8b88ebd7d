"""Block expansion: a deeper model that begins as the shallower one was, by copies of layers that add nothing yet.

After LLaMA-Pro (Wu et al. 2024, arXiv:2401.02415): layers are divided into equal groups and after each stands a copy of
its last one, whose projections into the residual stream are zero. So the copies pass on what they get, to the bit, and
learn by themselves while the old layers stay as they were.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlm.errors import InputError
from hanlm.model_folder import read_object

REPORT = "block_report.json"


def sources(num_layers: int, num_blocks: int) -> list[int]:
    """Return for every layer of the deeper model which old one it is or copies.

    A copy is the second of two equal numbers. Groups are equal where ``num_blocks`` divides ``num_layers``.
    """
    ends = {(group + 1) * num_layers // num_blocks - 1 for group in range(num_blocks)}
    return [layer for layer in range(num_layers) for _ in range(2 if layer in ends else 1)]


def copies(layer_sources: Sequence[int]) -> list[int]:
    """Return which layers of the deeper model are copies."""
    return [i for i in range(1, len(layer_sources)) if layer_sources[i] == layer_sources[i - 1]]


def deeper_config(config: Mapping[str, Any], layer_sources: Sequence[int]) -> dict[str, Any]:
    """Return a ``config.json`` for the deeper model: what it says of single layers, a copy takes over."""
    num_layers = config["num_hidden_layers"]
    found = dict(config) | {"num_hidden_layers": len(layer_sources)}
    if isinstance(kinds := config.get("layer_types"), list) and len(kinds) == num_layers:  # pyright: ignore[reportUnknownArgumentType]
        found["layer_types"] = [kinds[source] for source in layer_sources]
    if isinstance(first := config.get("max_window_layers"), int):  # layers before it have no sliding window
        found["max_window_layers"] = sum(source < first for source in layer_sources) + max(0, first - num_layers)
    return found


def new_layers(model: Path, *, num_layers: int) -> tuple[int, ...]:
    """Return which layers of a model ``hanlm expand-blocks`` added; none where it was not expanded.

    Raises:
        InputError: If the report in the folder belongs to another model.
    """
    file = model / REPORT
    if not file.is_file():
        return ()
    found = read_object(file).get("new_layers")
    if not isinstance(found, list) or not all(isinstance(i, int) and 0 <= i < num_layers for i in found):  # pyright: ignore[reportUnknownVariableType]
        raise InputError(
            f"{file} should list new_layers below the model's {num_layers} layers, got {found!r}; "
            "it belongs to another model: run `hanlm expand-blocks` again."
        )
    return tuple(sorted(found))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
