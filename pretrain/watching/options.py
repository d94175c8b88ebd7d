"""Options of watching: what counts as a bad step, and how much may be forgotten."""

from dataclasses import dataclass

from hanlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultOptions:
    """Steps that go wrong."""

    max_bad_steps: int = 5
    """Stop after so many steps in a row were left out."""
    spike_factor: float = 2.0
    """A loss above this many times the median of the latest steps is a spike; 0 looks for none."""
    spike_window: int = 64
    """Steps that the median is taken of."""
    skip_spikes: bool = False
    """Leave a step with a spike out, as one whose gradient is not finite, instead of only telling of it."""

    def __post_init__(self) -> None:
        if self.max_bad_steps < 1:
            raise ConfigError(f"--faults.max-bad-steps must be at least 1, got {self.max_bad_steps}.")
        if self.spike_factor and self.spike_factor <= 1:
            raise ConfigError(f"--faults.spike-factor must be above 1, or 0 for none, got {self.spike_factor}.")
        if self.spike_window < MIN_WINDOW:
            raise ConfigError(f"--faults.spike-window must be at least {MIN_WINDOW}, got {self.spike_window}.")


MIN_WINDOW = 8
"""Steps before a median says anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgettingOptions:
    """A budget for what a language may lose."""

    max_increase: float | None = None
    """Largest relative rise of a language's bits per byte over those before training, such as 0.05."""
    lang: str = "en"
    """The language; en stands for en-GB and the like too."""
    raise_factor: float = 2.0
    """What the language's share of the training data is multiplied by when a validation is over the budget."""
    max_share: float = 0.5
    """Highest share that it is raised to."""
    max_raises: int = 3
    """Stop when a validation is over the budget after so many raises."""

    def __post_init__(self) -> None:
        if self.max_increase is not None and self.max_increase < 0:
            raise ConfigError(f"--forgetting.max-increase must not be negative, got {self.max_increase}.")
        if self.raise_factor <= 1:
            raise ConfigError(f"--forgetting.raise-factor must be above 1, got {self.raise_factor}.")
        if not 0 < self.max_share < 1:
            raise ConfigError(f"--forgetting.max-share must be between 0 and 1, got {self.max_share}.")
        if self.max_raises < 0:
            raise ConfigError(f"--forgetting.max-raises must not be negative, got {self.max_raises}.")
