"""Building the Megatron model: the only place that knows ``GPTModel``."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from hanlm.megatron import megatron_import
from pretrain.attention import RMSNorm, TorchAttention
from pretrain.families import ModelShape
from pretrain.parallel import Place
from pretrain.rotary import GatedSiLU, Rotary

_ACTIVATIONS: Mapping[str, Callable[..., torch.Tensor]] = {
    "silu": functional.silu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
}


def padded_vocab_size(shape: ModelShape, tensor: int) -> int:
    """Return the vocabulary size padded so that every tensor-parallel rank holds equally many rows."""
    return -(-shape.vocab_size // tensor) * tensor


def build_model(
    shape: ModelShape, place: Place, *, dtype: torch.dtype, seq_length: int, recompute: bool = False
) -> Any:
    """Return this process's part of the model as a ``GPTModel`` on its device, weights not yet loaded."""
    with megatron_import():
        from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
        from megatron.core.models.gpt.gpt_model import GPTModel
        from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
    config = _transformer_config(shape, place, dtype, recompute=recompute)
    layer: Any = get_gpt_layer_local_spec(normalization="RMSNorm")
    _choose_modules(layer.submodules, shape, Rotary(_frequencies(shape)))
    stage_layers = shape.num_layers // place.layout.pipeline
    model = GPTModel(
        config=config,
        transformer_layer_spec=TransformerBlockSubmodules(layer_specs=[layer] * stage_layers, layer_norm=RMSNorm),  # pyright: ignore[reportArgumentType]
        vocab_size=padded_vocab_size(shape, place.layout.tensor),
        max_sequence_length=seq_length,
        pre_process=place.is_first_stage,
        post_process=place.is_last_stage,
        share_embeddings_and_output_weights=shape.is_tied,
        position_embedding_type="none",  # attention turns queries and keys itself
    )
    if shape.scales_embeddings and place.is_first_stage:
        # Rounded to the training precision first, as transformers does.
        factor = float(torch.tensor(shape.hidden_size**0.5, dtype=dtype))
        embedding: Any = model.embedding
        embedding.register_forward_hook(lambda _module, _inputs, embedded: embedded * factor)
    return model.to(place.device)


def _choose_modules(layer: Any, shape: ModelShape, rotary: Rotary) -> None:
    """Put HanLM's norms and attention into a layer, and biases where the model has them."""
    from megatron.core.transformer.spec_utils import ModuleSpec

    attention, mlp = layer.self_attention.submodules, layer.mlp.keywords["submodules"]
    layer.input_layernorm = layer.pre_mlp_layernorm = RMSNorm
    attention.core_attention = ModuleSpec(module=TorchAttention, params={"rotary": rotary})
    mlp.activation_func = GatedSiLU
    if shape.qk_norm:
        attention.q_layernorm = attention.k_layernorm = RMSNorm
    if shape.output_bias:
        attention.linear_proj = _with_bias(attention.linear_proj)
    if shape.mlp_bias:
        mlp.linear_fc1, mlp.linear_fc2 = _with_bias(mlp.linear_fc1), _with_bias(mlp.linear_fc2)


def _with_bias(linear: Callable[..., Any]) -> Callable[..., Any]:
    """Megatron's configuration has one switch for the biases of all layers; models have them in some."""

    def build(*sizes: int, **options: Any) -> Any:
        return linear(*sizes, **(options | {"bias": True}))

    return build


def _frequencies(shape: ModelShape) -> torch.Tensor:
    """Return the rotary frequencies; scaled as in llama3 by megatron-core's formula, to which ``GPTModel`` would pass
    the factor only.
    """
    from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding

    rope: Any = RotaryEmbedding(
        kv_channels=shape.head_size,
        rotary_percent=1.0,
        rotary_base=shape.rope_theta,  # pyright: ignore[reportArgumentType]
        use_cpu_initialization=True,
    )
    scaling = shape.rope_scaling
    if scaling is None:
        return rope.inv_freq
    if scaling.kind == "linear":
        return rope.inv_freq / scaling.factor
    return rope._apply_scaling(
        rope.inv_freq,
        factor=scaling.factor,
        low_freq_factor=scaling.low_freq_factor,
        high_freq_factor=scaling.high_freq_factor,
        original_max_position_embeddings=scaling.original_positions,
    )


def _transformer_config(shape: ModelShape, place: Place, dtype: torch.dtype, *, recompute: bool) -> Any:
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
        activation_func=_ACTIVATIONS[shape.activation],
        add_bias_linear=False,
        add_qkv_bias=shape.qkv_bias,
        qk_layernorm=shape.qk_norm,
        layernorm_zero_centered_gamma=shape.zero_centred_norms,
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
        use_te_activation_func=shape.activation == "silu",  # the name of the switch for a module of one's own
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
        recompute_granularity="full" if recompute else None,
        recompute_method="uniform" if recompute else None,
        recompute_num_layers=1 if recompute else None,
    )
