"""What a base model is made of, whatever its family."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pretrain.families.registry import FAMILIES
from pretrain.families.weights import Weight


@dataclass(frozen=True, kw_only=True, slots=True)
class RopeScaling:
    """How the rotary frequencies differ from those that ``rope_theta`` alone gives."""

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    """llama3: wavelengths beyond the original positions divided by this are stretched by ``factor``."""
    high_freq_factor: float = 4.0
    """llama3: wavelengths below the original positions divided by this stay as they are."""
    original_positions: int = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Hyperparameters of a base model, family-neutral."""

    family: str
    num_layers: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int
    max_positions: int
    norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None = None
    is_tied: bool
    """Whether the output layer is the embedding."""
    activation: str = "silu"
    """Of the gate: silu or gelu_tanh."""
    window: int | None = None
    """Tokens that a position attends to, itself included; None for all before it."""
    qkv_bias: bool = False
    output_bias: bool = False
    """Whether attention's output projection has a bias."""
    mlp_bias: bool = False
    qk_norm: bool = False
    """Whether each head's queries and keys are normalised."""
    zero_centred_norms: bool = False
    """Whether norms store how far their weight is from 1."""
    scales_embeddings: bool = False
    """Whether embeddings are multiplied by the root of the hidden size."""

    @property
    def is_untied(self) -> bool:
        """Whether there is an output layer of its own."""
        return not self.is_tied

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The family's weights that this model has."""
        return tuple(w for w in FAMILIES[self.family].weights if w.needs is None or getattr(self, w.needs))

    def parameters(self) -> Iterator[tuple[Weight, int | None]]:
        """Yield every whole parameter with its layer, in the order in which data flow through them."""
        first, *_, last = (i for i, w in enumerate(self.weights) if w.is_layered)
        for weight in self.weights[:first]:
            yield weight, None
        for layer in range(self.num_layers):
            for weight in self.weights[first : last + 1]:
                yield weight, layer
        for weight in self.weights[last + 1 :]:
            yield weight, None

    @property
    def sizes(self) -> Mapping[str, int]:
        """The lengths of the tensors' axes: vocabulary, hidden, feed-forward, queries, keys (or values), a head."""
        queries, keys = self.num_heads * self.head_size, self.num_kv_heads * self.head_size
        return {
            "V": self.vocab_size,
            "D": self.hidden_size,
            "F": self.ffn_size,
            "Q": queries,
            "K": keys,
            "H": self.head_size,
        }
