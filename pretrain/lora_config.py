"""What `hanlm pretrain` says of LoRA, for flags and YAML."""

from dataclasses import dataclass

from hanlm.errors import ConfigError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraConfig:
    """Low-rank updates of the linear layers, for phases with `trainable: lora` (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = 8
    """Rank of the updates."""
    alpha: float = 32.0
    """They are scaled by alpha / rank."""
    targets: tuple[str, ...] = PROJECTIONS
    """Projections that get one, by their Hugging Face names."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"--lora.rank must be at least 1, got {self.rank}.")
        if self.alpha <= 0:
            raise ConfigError(f"--lora.alpha must be positive, got {self.alpha}.")
        if unknown := [name for name in self.targets if name not in PROJECTIONS] or not self.targets:
            got = ", ".join(unknown) if isinstance(unknown, list) else "none"
            raise ConfigError(f"--lora.targets expects some of {', '.join(PROJECTIONS)}, got {got}.")

    @property
    def scale(self) -> float:
        """Factor of the updates."""
        return self.alpha / self.rank
