"""Building the Megatron model: the only place that knows ``GPTModel``."""

from typing import Any

import torch

from hanlm.megatron import megatron_import
from pretrain.attention import RMSNorm, TorchAttention
from pretrain.families import ModelShape
from pretrain.parallel import Place


def padded_vocab_size(shape: ModelShape, tensor: int) -> int:
    """Return the vocabulary size padded so that every tensor-parallel rank holds equally many rows."""
    return -(-shape.vocab_size // tensor) * tensor


def build_model(shape: ModelShape, place: Place, *, dtype: torch.dtype, seq_length: int) -> Any:
    """Return this process's part of the model as a ``GPTModel`` on its device, weights not yet loaded."""
    with megatron_import():
        from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
        from megatron.core.models.gpt.gpt_model import GPTModel
        from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
    config = _transformer_config(shape, place, dtype)
    layer: Any = get_gpt_layer_local_spec(normalization="RMSNorm")
    layer.submodules.input_layernorm = RMSNorm
    layer.submodules.pre_mlp_layernorm = RMSNorm
    layer.submodules.self_attention.submodules.core_attention = TorchAttention
    stage_layers = shape.num_layers // place.layout.pipeline
    model = GPTModel(
        config=config,
        transformer_layer_spec=TransformerBlockSubmodules(layer_specs=[layer] * stage_layers, layer_norm=RMSNorm),  # pyright: ignore[reportArgumentType]
        vocab_size=padded_vocab_size(shape, place.layout.tensor),
        max_sequence_length=seq_length,
        pre_process=place.is_first_stage,
        post_process=place.is_last_stage,
        share_embeddings_and_output_weights=shape.is_tied,
        position_embedding_type="rope",
        rotary_base=shape.rope_theta,  # pyright: ignore[reportArgumentType]
    )
    return model.to(place.device)


def _transformer_config(shape: ModelShape, place: Place, dtype: torch.dtype) -> Any:
    from megatron.core.transformer.transformer_config import TransformerConfig

    on_cpu = place.device.type == "cpu"
    return TransformerConfig(
        num_layers=shape.num_layers,
        hidden_size=shape.hidden_size,
        ffn_hidden_size=shape.ffn_size,
        num_attention_heads=shape.num_heads,
        num_query_groups=shape.num_kv_heads,
        kv_channels=shape.head_size,
        layernorm_epsilon=shape.norm_eps,
        normalization="RMSNorm",
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        add_bias_linear=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        bf16=dtype == torch.bfloat16,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        tensor_model_parallel_size=place.layout.tensor,
        pipeline_model_parallel_size=place.layout.pipeline,
        sequence_parallel=place.layout.sequence_parallel,
        use_cpu_initialization=on_cpu,
        perform_initialization=False,  # every weight is loaded from the base
        persist_layer_norm=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
    )
