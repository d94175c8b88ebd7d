"""How one Megatron parameter is made of Hugging Face tensors, and the entries that families share.

An entry says which tensors they are, how they combine (``Fuse``), along which axis tensor parallelism cuts the
result (``Cut``), and which option of a model it needs. ``pretrain/weights/convert.py`` applies entries both ways.
"""

from dataclasses import dataclass
from enum import Enum


class Fuse(Enum):
    """How Hugging Face tensors combine into one Megatron parameter."""

    NONE = "one tensor, as it is"
    QKV = "queries, keys and values, interleaved by key-value group: [queries of the group, key, value]"
    GATE_UP = "gate above up"
    VOCAB = "one row a token, padded below"


class Cut(Enum):
    """How tensor parallelism divides a Megatron parameter."""

    NONE = "every rank holds all of it"
    ROWS = "along the output features"
    COLUMNS = "along the input features"
    HALVES = "gate and up are each cut along their rows"


@dataclass(frozen=True, slots=True)
class Weight:
    """One Megatron parameter and where it comes from; ``{}`` stands for the layer's number."""

    megatron: str
    """Name in ``GPTModel``."""
    checkpoint: str
    """Key in a distributed checkpoint, where all layers share one tensor with a layer axis in front."""
    sources: tuple[str, ...]
    """Names of the Hugging Face tensors."""
    axes: tuple[str, ...]
    """Axes of each of them, by the letters of ``ModelShape.sizes``."""
    fuse: Fuse
    cut: Cut
    needs: str | None = None
    """The option of ``ModelShape`` without which a model lacks it; None where every model of the family has it."""

    @property
    def transformer_engine(self) -> str:
        """Name in a ``GPTModel`` of TransformerEngine's layers, which hold a norm as part of the layer behind it."""
        return self.checkpoint.replace("decoder.layers.", "decoder.layers.{}.")

    @property
    def is_layered(self) -> bool:
        """Whether there is one of it in each layer."""
        return "{}" in self.megatron

    @property
    def projections(self) -> tuple[str, ...]:
        """The linear layers that it is fused from, such as ``q_proj``; none for norms, biases and tables."""
        if not self.is_layered or len(self.axes[0]) != 2:
            return ()
        return tuple(source.removesuffix(".weight").rpartition(".")[2] for source in self.sources)

    def tensors(self, layer: int | None) -> list[str]:
        """Return the names of the Hugging Face tensors in one layer."""
        return [source.format(layer) for source in self.sources]


def _layered(
    megatron: str,
    sources: tuple[str, ...],
    axes: tuple[str, ...],
    fuse: Fuse = Fuse.NONE,
    cut: Cut = Cut.NONE,
    *,
    checkpoint: str | None = None,
    needs: str | None = None,
) -> Weight:
    return Weight(
        f"decoder.layers.{{}}.{megatron}",
        f"decoder.layers.{checkpoint or megatron}",
        tuple(f"model.layers.{{}}.{source}" for source in sources),
        axes,
        fuse,
        cut,
        needs,
    )


def _whole(megatron: str, source: str, axes: str, fuse: Fuse, cut: Cut, *, needs: str | None = None) -> Weight:
    return Weight(megatron, megatron, (source,), (axes,), fuse, cut, needs)


def _projections(kind: str) -> tuple[str, ...]:
    return tuple(f"self_attn.{x}_proj.{kind}" for x in "qkv")


EMBEDDING = _whole("embedding.word_embeddings.weight", "model.embed_tokens.weight", "VD", Fuse.VOCAB, Cut.ROWS)
FINAL_NORM = _whole("decoder.final_layernorm.weight", "model.norm.weight", "D", Fuse.NONE, Cut.NONE)
HEAD = _whole("output_layer.weight", "lm_head.weight", "VD", Fuse.VOCAB, Cut.ROWS, needs="is_untied")

# A checkpoint names the norms after the layers that follow them, as TransformerEngine holds them.
INPUT_NORM = _layered(
    "input_layernorm.weight",
    ("input_layernorm.weight",),
    ("D",),
    checkpoint="self_attention.linear_qkv.layer_norm_weight",
)
MLP_NORM = _layered(
    "pre_mlp_layernorm.weight",
    ("post_attention_layernorm.weight",),
    ("D",),
    checkpoint="mlp.linear_fc1.layer_norm_weight",
)

QKV = _layered("self_attention.linear_qkv.weight", _projections("weight"), ("QD", "KD", "KD"), Fuse.QKV, Cut.ROWS)
QKV_BIAS = _layered(
    "self_attention.linear_qkv.bias", _projections("bias"), ("Q", "K", "K"), Fuse.QKV, Cut.ROWS, needs="qkv_bias"
)
QUERY_NORM = _layered("self_attention.q_layernorm.weight", ("self_attn.q_norm.weight",), ("H",), needs="qk_norm")
KEY_NORM = _layered("self_attention.k_layernorm.weight", ("self_attn.k_norm.weight",), ("H",), needs="qk_norm")
OUTPUT = _layered("self_attention.linear_proj.weight", ("self_attn.o_proj.weight",), ("DQ",), cut=Cut.COLUMNS)
OUTPUT_BIAS = _layered("self_attention.linear_proj.bias", ("self_attn.o_proj.bias",), ("D",), needs="output_bias")

GATE_UP = _layered(
    "mlp.linear_fc1.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight"), ("FD", "FD"), Fuse.GATE_UP, Cut.HALVES
)
GATE_UP_BIAS = _layered(
    "mlp.linear_fc1.bias",
    ("mlp.gate_proj.bias", "mlp.up_proj.bias"),
    ("F", "F"),
    Fuse.GATE_UP,
    Cut.HALVES,
    needs="mlp_bias",
)
DOWN = _layered("mlp.linear_fc2.weight", ("mlp.down_proj.weight",), ("DF",), cut=Cut.COLUMNS)
DOWN_BIAS = _layered("mlp.linear_fc2.bias", ("mlp.down_proj.bias",), ("D",), needs="mlp_bias")
