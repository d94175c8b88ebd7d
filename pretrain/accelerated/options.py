"""What only the accelerate backend can do: declared once, for flags (``--accelerate.NAME``), YAML and the manifest."""

from dataclasses import dataclass

from hanlm.errors import ConfigError

ALL_LINEAR = "all-linear"


@dataclass(frozen=True, kw_only=True, slots=True)
class AccelerateOptions:
    """Options of `--backend accelerate`."""

    lora_rank: int = 0
    """Train LoRA adapters of this rank, and the rows of new tokens, instead of the weights themselves; 0 does not."""
    lora_alpha: float | None = None
    """Scale of the adapters, times their rank; by default twice the rank."""
    lora_targets: tuple[str, ...] = (ALL_LINEAR,)
    """Layers that get adapters, by the ends of their names; all-linear is all but the output layer."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""

    def __post_init__(self) -> None:
        if self.lora_rank < 0:
            raise ConfigError(f"--accelerate.lora-rank must be 0 or more, got {self.lora_rank}.")
        if self.lora_alpha is not None and self.lora_alpha <= 0:
            raise ConfigError(f"--accelerate.lora-alpha must be positive, got {self.lora_alpha:g}.")
        if not self.lora_targets:
            raise ConfigError(f"--accelerate.lora-targets needs {ALL_LINEAR} or names such as query_key_value.")
        if not self.lora_rank and (self.lora_alpha is not None or self.lora_targets != (ALL_LINEAR,)):
            raise ConfigError(
                "--accelerate.lora-alpha and --accelerate.lora-targets need --accelerate.lora-rank of at least 1."
            )

    @property
    def alpha(self) -> float:
        """Scale of the adapters, times their rank."""
        return 2.0 * self.lora_rank if self.lora_alpha is None else self.lora_alpha
