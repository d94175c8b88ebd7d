"""What `hanlm pretrain` says of LoRA, for flags and YAML."""

from dataclasses import dataclass

from hanlm.errors import ConfigError

ALL_LINEAR = "all-linear"
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of the families that Megatron-Core trains, by their Hugging Face names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraConfig:
    """Low-rank updates of the linear layers, for phases with `trainable: lora` (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = 8
    """Rank of the updates."""
    alpha: float = 32.0
    """They are scaled by alpha / rank."""
    targets: tuple[str, ...] = (ALL_LINEAR,)
    """Layers that get one, by the ends of their Hugging Face names, such as q_proj; all-linear is every linear layer
    but the output layer."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"--lora.rank must be at least 1, got {self.rank}.")
        if self.alpha <= 0:
            raise ConfigError(f"--lora.alpha must be positive, got {self.alpha}.")
        if not self.targets or (self.is_all_linear and len(self.targets) > 1):
            got = ", ".join(self.targets) or "none"
            raise ConfigError(f"--lora.targets expects {ALL_LINEAR} alone, or names such as q_proj, got {got}.")

    @property
    def scale(self) -> float:
        """Factor of the updates."""
        return self.alpha / self.rank

    @property
    def is_all_linear(self) -> bool:
        """Whether every linear layer but the output layer gets an update."""
        return ALL_LINEAR in self.targets

    @property
    def projections(self) -> tuple[str, ...]:
        """The layers that get one where they have the names of LLaMA's, as all have that Megatron-Core trains."""
        return PROJECTIONS if self.is_all_linear else self.targets


def check_projections(config: LoraConfig) -> None:
    """Refuse targets that Megatron-Core's families do not have.

    Raises:
        ConfigError: Names them.
    """
    if unknown := [name for name in config.projections if name not in PROJECTIONS]:
        raise ConfigError(
            f"--lora.targets expects {ALL_LINEAR} or some of {', '.join(PROJECTIONS)} with --backend megatron, "
            f"got {', '.join(unknown)}."
        )
