"""The first Gemma: norms that store how far they are from 1, scaled embeddings, a GELU gate, tied ends.

Gemma 2 and 3 soften logits, alternate windows and normalise twice, which megatron-core's layers do not.
"""

from pretrain.families.family import Family
from pretrain.families.weights import (
    DOWN,
    EMBEDDING,
    FINAL_NORM,
    GATE_UP,
    HEAD,
    INPUT_NORM,
    MLP_NORM,
    OUTPUT,
    OUTPUT_BIAS,
    QKV,
    QKV_BIAS,
)

GEMMA = Family(
    title="Gemma 1",
    weights=(
        EMBEDDING,
        *(INPUT_NORM, QKV, QKV_BIAS, OUTPUT, OUTPUT_BIAS),
        *(MLP_NORM, GATE_UP, DOWN, FINAL_NORM, HEAD),
    ),
    defaults={
        "num_key_value_heads": 16,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "hidden_act": "gelu_pytorch_tanh",
    },
    options={
        "qkv_bias": "attention_bias",
        "output_bias": "attention_bias",
        "zero_centred_norms": True,
        "scales_embeddings": True,
    },
    # Early files say "gelu" and mean the tanh approximation; transformers reads them so too.
    activations={"gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu_tanh"},
)
