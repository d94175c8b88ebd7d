"""Tiny random models of families that megatron-core does not fit, around a tokenizer that is there."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MptConfig,
    OPTConfig,
)

CONFIGS: dict[str, Any] = {
    "bloom": BloomConfig(hidden_size=32, n_layer=2, n_head=4, hidden_dropout=0.1, attention_dropout=0.1),
    "opt": OPTConfig(
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        word_embed_proj_dim=16,
        do_layer_norm_before=True,
    ),
    "gpt_neox": GPTNeoXConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        hidden_dropout=0.1,
        attention_dropout=0.1,
    ),
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=1, eos_token_id=2),
    "falcon": FalconConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    "mpt": MptConfig(d_model=32, n_layers=2, n_heads=4, max_seq_len=128),
    "gptj": GPTJConfig(n_embd=32, n_layer=2, n_head=4, n_positions=128, rotary_dim=4, bos_token_id=1, eos_token_id=2),
    "gemma2": Gemma2Config(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=128,
        final_logit_softcapping=1.0,
    ),
    "llama": LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    ),
}
"""Dropout is on where the family has it by default; OPT's embedding is narrower than its layers, GPT-J's
output layer has a bias, and Gemma 2 bends its logits."""


def make_causal_base(folder: Path, family: str, tokenizer: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """Write a random model of 320 tokens, 300 of which are said to be the base's."""
    from transformers import AutoModelForCausalLM

    shutil.copytree(tokenizer, folder)
    torch.manual_seed(0)
    config = type(CONFIGS[family])(**CONFIGS[family].to_dict() | {"vocab_size": 320})
    AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(folder)
    (folder / "vocab_report.json").write_text(json.dumps({"num_base_tokens": 300}))
    return folder
