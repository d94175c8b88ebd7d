"""One colour for each model and one for each domain, the same in every figure of every page.

The colours are the page's own (``--c0`` to ``--c7`` of ``page.css``), so they change with light and dark.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_USUAL = {"base": 0, "extended": 4, "pretrained": 1, "control": 2, "before": 1, "after": 3}
"""Models that recipes name so keep these, whatever else a page shows beside them."""
_MODEL_ORDER = (0, 4, 1, 2, 3, 5, 6, 7)
_DOMAIN_ORDER = (5, 7, 6)  # none that a usual model has

NEUTRAL = "var(--muted)"
"""For bars that are neither models nor domains."""


def model_colors(models: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the colours of models by name, given their ``name`` and ``path``; two names of one folder share one.

    A model's colour depends on those before it alone, so a page that lists more models keeps those of one that lists
    fewer.
    """
    chosen: dict[str, int] = {}
    by_path: dict[str, int] = {}
    for model in models:
        name, path = model["name"], model["path"]
        if name not in chosen:
            chosen[name] = by_path.setdefault(path, _next(name, set(chosen.values()), len(chosen)))
    return {name: _variable(index) for name, index in chosen.items()}


def domain_colors(names: Sequence[str]) -> list[str]:
    """Return a colour for each domain; the fourth begins again."""
    return [_variable(_DOMAIN_ORDER[i % len(_DOMAIN_ORDER)]) for i in range(len(names))]


def _next(name: str, taken: set[int], count: int) -> int:
    usual = _USUAL.get(name)
    if usual is not None and usual not in taken:
        return usual
    return next((index for index in _MODEL_ORDER if index not in taken), _MODEL_ORDER[count % len(_MODEL_ORDER)])


def _variable(index: int) -> str:
    return f"var(--c{index})"
