"""Mistral 7B and its relatives: LLaMA's weights, and in version 0.1 attention over a sliding window."""

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
    QKV,
)

MISTRAL = Family(
    title="Mistral",
    weights=(EMBEDDING, INPUT_NORM, QKV, OUTPUT, MLP_NORM, GATE_UP, DOWN, FINAL_NORM, HEAD),
    defaults={"num_key_value_heads": 8, "max_position_embeddings": 131_072, "sliding_window": 4096},
    window="sliding_window",
)
