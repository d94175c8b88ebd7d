"""How many floating-point operations training on one token takes: one count, for plans and for what a run reports.

It is the count of *model* operations that MFU, model FLOPs utilisation, was defined with (Chowdhery et al. 2022,
arXiv:2204.02311, appendix B), so that MFU can be compared with published ones: two operations for each weight of a
matrix product forward, two for the gradient of its input and two for its own, and 4 Q T in each layer for attention
forward (scores and weighted values of Q features over T positions), twice that backward. With all weights trained that
is 6 N + 12 L Q T. It follows that

- attention counts over the whole square of positions, though a causal kernel does half of it: such a kernel's MFU is
  above the share of the peak that the arithmetic units were at work (``TokenFlops.executed`` counts what they do);
- activations that are computed again do not count, nor do embeddings that are only looked up, norms, and losses;
- a frozen weight has no gradient of its own, and one before the first that trains none of its input either: a phase of
  new rows takes about two thirds of the operations of one of all weights, and its MFU counts no more than those.
"""

from dataclasses import dataclass

from pretrain.families import Fuse, ModelShape
from pretrain.trainable.trained import Trained, low_rank_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenFlops:
    """Operations for one token."""

    forward: int
    """Of products with weights: linear layers, low-rank updates, output layer."""
    inputs: int
    """Of the gradients of these products' inputs."""
    weights: int
    """Of the gradients of their weights."""
    attention: int
    """Of attention forward, over the whole square of positions."""
    attention_backward: int

    @property
    def training(self) -> int:
        """Forward and backward, as MFU counts them."""
        return self.forward + self.inputs + self.weights + self.attention + self.attention_backward

    def executed(self, *, recomputes: bool) -> int:
        """Return what a causal kernel really does: half of the square, and with recompute the forward pass twice."""
        again = 1 + recomputes
        return (
            again * self.forward + self.inputs + self.weights + (again * self.attention + self.attention_backward) // 2
        )


def token_flops(shape: ModelShape, seq_length: int, trained: Trained | None = None) -> TokenFlops:
    """Return the operations that one token of a sequence takes.

    Args:
        shape: The model.
        seq_length: Tokens of a sequence.
        trained: What is trained of it; by default every weight.
    """
    trained = Trained.all_of(shape) if trained is None else trained
    own = _layer_weights(shape)
    beside = low_rank_weights(shape, trained.lora) if trained.lora else 0
    first = trained.first_layer
    num_backward = 0 if first is None else shape.num_layers - first
    updates = beside * trained.trains_lora * shape.num_layers
    attention = 4 * shape.sizes["Q"] * seq_length
    return TokenFlops(
        forward=2 * (shape.num_layers * (own + beside) + shape.vocab_size * shape.hidden_size),
        inputs=2 * (num_backward * (own + beside) + shape.vocab_size * shape.hidden_size),
        weights=2 * (len(trained.layers) * own + updates + trained.num_rows * shape.hidden_size),
        attention=shape.num_layers * attention,
        attention_backward=2 * num_backward * attention,
    )


def _layer_weights(shape: ModelShape) -> int:
    """Return the weights of one layer's matrices."""
    matrices = [w for w in shape.weights if w.projections and w.fuse is not Fuse.VOCAB]
    return sum(shape.sizes[axes[0]] * shape.sizes[axes[1]] for weight in matrices for axes in weight.axes)
