"""Tiny random bases of every family that pretraining knows, each with all that sets its family apart."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

VOCAB_SIZE = 323
"""Odd, so that two tensor-parallel ranks need a row of padding; the tests' tokenizer has 320 tokens."""
_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_SIZES |= {"num_key_value_heads": 2, "vocab_size": VOCAB_SIZE, "max_position_embeddings": 128}
_LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}

BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama1": ("Llama", {"num_key_value_heads": 4, "rms_norm_eps": 1e-6}),
    "llama3": ("Llama", {"rope_parameters": _LLAMA3 | {"original_max_position_embeddings": 16}}),
    "llama-biased": (
        "Llama",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
        },
    ),
    "yi": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e6}, "rms_norm_eps": 1e-5}),
    "smollm": ("Llama", {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e5}}),
    "mistral": ("Mistral", {"sliding_window": 32, "head_dim": 16}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True, "rms_norm_eps": 1e-6}),
    "qwen2.5": ("Qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "qwen3": ("Qwen3", {"head_dim": 16, "attention_bias": True, "tie_word_embeddings": True}),
    "gemma": ("Gemma", {"head_dim": 16, "tie_word_embeddings": True, "pad_token_id": 0}),
}


def make_base(folder: Path, name: str, *, dtype: torch.dtype = torch.float32, **changes: Any) -> nn.Module:
    """Write a base whose every weight is random, norms and biases too, and return it."""
    import transformers

    family, options = BASES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**(_SIZES | options | changes))
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim == 1 else 0.05))
    model = model.to(dtype).eval()
    model.save_pretrained(str(folder))
    return model
