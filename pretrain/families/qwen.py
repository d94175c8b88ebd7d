"""Qwen2 and 2.5, whose queries, keys and values have biases, and Qwen3, whose queries and keys are normalised."""

from pretrain.families.family import Family
from pretrain.families.weights import (
    DOWN,
    EMBEDDING,
    FINAL_NORM,
    GATE_UP,
    HEAD,
    INPUT_NORM,
    KEY_NORM,
    MLP_NORM,
    OUTPUT,
    OUTPUT_BIAS,
    QKV,
    QKV_BIAS,
    QUERY_NORM,
)

_MLP = (MLP_NORM, GATE_UP, DOWN)

QWEN2 = Family(
    title="Qwen2 and 2.5",
    weights=(EMBEDDING, INPUT_NORM, QKV, QKV_BIAS, OUTPUT, *_MLP, FINAL_NORM, HEAD),
    defaults={
        "num_key_value_heads": 32,
        "max_position_embeddings": 32_768,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    options={"qkv_bias": True},
    window="sliding_window",
    window_switch="use_sliding_window",
)

QWEN3 = Family(
    title="Qwen3",
    weights=(
        EMBEDDING,
        *(INPUT_NORM, QKV, QKV_BIAS, QUERY_NORM, KEY_NORM, OUTPUT, OUTPUT_BIAS),
        *_MLP,
        *(FINAL_NORM, HEAD),
    ),
    defaults={
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32_768,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    options={"qkv_bias": "attention_bias", "output_bias": "attention_bias", "qk_norm": True},
    window="sliding_window",
    window_switch="use_sliding_window",
)
