"""How many floating-point operations training takes."""

from dataclasses import dataclass

from pretrain.families import ModelShape
from pretrain.planning.memory import model_parameters

_BACKWARD = 2
"""The backward pass multiplies twice: for the gradient of the weights, and for that of the inputs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flops:
    """Operations for one token, forward."""

    matmul: int
    """Of the linear layers and the output layer: two for each of their weights."""
    attention: int
    """Of scores and weighted values, counted over the whole square of positions as is customary."""

    @property
    def training(self) -> int:
        """Forward and backward, as MFU is defined: 6 N + 12 L Q T (Chowdhery et al. 2022, arXiv:2204.02311)."""
        return (1 + _BACKWARD) * (self.matmul + self.attention)

    def executed(self, *, recomputes: bool) -> int:
        """Return what a causal kernel really does: half of the square, and with recompute the forward pass twice."""
        return (1 + _BACKWARD + recomputes) * (self.matmul + self.attention // 2)


def flops_per_token(shape: ModelShape, seq_length: int) -> Flops:
    """Return the operations that one token of a sequence of this length takes."""
    table = shape.vocab_size * shape.hidden_size
    embedding = 0 if shape.is_tied else table  # looked up; a tied table is counted once, as the output layer
    return Flops(
        matmul=2 * (model_parameters(shape) - embedding),
        attention=4 * shape.num_layers * shape.sizes["Q"] * seq_length,
    )
