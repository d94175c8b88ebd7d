"""LLaMA 1, 2 and 3, and the many models that took over its code: Yi, SmolLM, Chinese-LLaMA, TinyLlama."""

from pretrain.families.family import Family
from pretrain.families.weights import (
    DOWN,
    DOWN_BIAS,
    EMBEDDING,
    FINAL_NORM,
    GATE_UP,
    GATE_UP_BIAS,
    HEAD,
    INPUT_NORM,
    MLP_NORM,
    OUTPUT,
    OUTPUT_BIAS,
    QKV,
    QKV_BIAS,
)

LLAMA = Family(
    title="LLaMA 1 to 3, Yi, SmolLM",
    weights=(
        EMBEDDING,
        *(INPUT_NORM, QKV, QKV_BIAS, OUTPUT, OUTPUT_BIAS),
        *(MLP_NORM, GATE_UP, GATE_UP_BIAS, DOWN, DOWN_BIAS),
        *(FINAL_NORM, HEAD),
    ),
    options={"qkv_bias": "attention_bias", "output_bias": "attention_bias", "mlp_bias": "mlp_bias"},
)
