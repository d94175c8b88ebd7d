"""Configuration of how checkpoints are written and which of them stay."""

from dataclasses import dataclass

from hanlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """How checkpoints are written, beside when (``--save-every``) and how many stay (``--keep-checkpoints``)."""

    asynchronous: bool = False
    """Train on while a checkpoint is written; its copy takes memory on the host. One is written at a time."""
    keep_every: int = 0
    """Keep every checkpoint whose step is a multiple of this besides the latest ones; 0 keeps the latest only."""

    def __post_init__(self) -> None:
        if self.keep_every < 0:
            raise ConfigError(f"--saving.keep-every must be 0 or a number of steps, got {self.keep_every}.")
