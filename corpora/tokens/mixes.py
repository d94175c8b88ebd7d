"""Mixes: what a person asks for, how often training is to see what, phase by phase."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from cyclopts import Parameter

from hanlm.errors import ConfigError

ALL = "all"
"""Stands for every data set in ``max_epochs``."""


def _parse_epochs(_hint: Any, given: Any) -> dict[str, float]:
    """Read ``4`` or ``zh=4,en=1`` from a flag, or a number or a mapping from YAML."""
    if isinstance(given, Mapping):
        pairs = [(name, tokens[0].value) for name, tokens in given.items()]
    else:
        pairs = [pair.split("=") if "=" in pair else (ALL, pair) for t in given for pair in t.value.split(",")]
    try:
        return {str(name): float(value) for name, value in pairs}
    except (TypeError, ValueError):
        raise ConfigError(f"max_epochs expects a number, or NAME=NUMBER for each source; got {pairs}.") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class MixPhase:
    """A stretch of training with weights of its own; what it leaves out is the mix's."""

    share: float
    """Share of all training; those of the phases sum to 1."""
    name: str = ""
    """Name in the manifest and the log; by default its number."""
    weights: dict[str, float] = field(default_factory=dict[str, float])
    """As in the mix."""
    temperature: float | None = None
    """As in the mix."""
    replay: dict[str, float] | None = None
    """As in the mix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """How often training sees what. A name is a data set's prefix, a domain or a language; the narrowest counts."""

    weights: dict[str, float] = field(default_factory=dict[str, float])
    """Weight of each domain or language, such as zh: 0.7, en: 0.2, code: 0.1; 0 leaves it out. Without them every
    data set is weighed by its size."""
    temperature: float = 1.0
    """Where weights do not decide, a data set of n tokens gets n^(1/T): 1 is by size, more is more even."""
    max_epochs: Annotated[dict[str, float], Parameter(converter=_parse_epochs, n_tokens=1)] = field(
        default_factory=dict[str, float]
    )
    """How often a data set may be seen, for `all` (or as a bare number) and for single names; what it would get
    beyond goes to the others."""
    replay: dict[str, float] = field(default_factory=dict[str, float])
    """Share of all tokens that is kept for what the model knows already, such as en: 0.1, code: 0.05; the rest is
    divided by the weights."""
    curriculum: tuple[MixPhase, ...] = ()
    """Phases in order, each with its share of training and its own weights."""
    total_tokens: float | None = None
    """Tokens that training will see, from which epochs follow; by default as many as there are."""

    def __post_init__(self) -> None:
        for where, weights, replay, temperature in (
            ("mix", self.weights, self.replay, self.temperature),
            *((f"mix, curriculum {i}", p.weights, p.replay or {}, p.temperature or 1.0) for i, p in self._numbered()),
        ):
            _check(where, weights, replay, temperature)
        if any(p.share <= 0 for p in self.curriculum) or (
            self.curriculum and abs(math.fsum(p.share for p in self.curriculum) - 1) > 1e-6
        ):
            got = [p.share for p in self.curriculum]
            raise ConfigError(f"mix: expected shares of the curriculum that are positive and sum to 1, got {got}.")
        if any(cap <= 0 for cap in self.max_epochs.values()):
            raise ConfigError(f"mix: expected max_epochs above 0, got {self.max_epochs}; weight 0 leaves a source out.")
        if self.total_tokens is not None and self.total_tokens <= 0:
            raise ConfigError(f"mix: expected total_tokens above 0, got {self.total_tokens}.")
        if len({name for name, _, _ in self.phases()}) < len(self.phases()):
            raise ConfigError("mix: expected phases of the curriculum with different names.")

    def _numbered(self) -> list[tuple[int, MixPhase]]:
        return list(enumerate(self.curriculum, 1))

    def phases(self) -> list[tuple[str, float, "Mix"]]:
        """Return the name, the share of training, and the mix of each phase."""
        if not self.curriculum:
            return [("all", 1.0, self)]
        return [
            (
                phase.name or f"phase-{number}",
                phase.share,
                Mix(
                    weights=phase.weights or self.weights,
                    temperature=phase.temperature or self.temperature,
                    replay=self.replay if phase.replay is None else phase.replay,
                    max_epochs=self.max_epochs,
                ),
            )
            for number, phase in self._numbered()
        ]


def _check(where: str, weights: Mapping[str, float], replay: Mapping[str, float], temperature: float) -> None:
    if any(w < 0 or not math.isfinite(w) for w in weights.values()) or (weights and not any(weights.values())):
        raise ConfigError(f"{where}: expected weights that are not negative and not all zero, got {dict(weights)}.")
    if any(r <= 0 for r in replay.values()) or math.fsum(replay.values()) >= 1:
        raise ConfigError(f"{where}: expected replay shares above 0 that sum to less than 1, got {dict(replay)}.")
    if both := sorted(weights.keys() & replay.keys()):
        raise ConfigError(f"{where}: {', '.join(both)} has both a weight and a replay share; take one of them out.")
    if temperature <= 0:
        raise ConfigError(f"{where}: expected a temperature above 0, got {temperature}.")
