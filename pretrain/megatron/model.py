"""Building the Megatron model: the only place that knows ``GPTModel``."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from hanlm.errors import ConfigError
from hanlm.megatron import megatron_import
from pretrain.families import ModelShape
from pretrain.megatron.attention import RMSNorm, TorchAttention
from pretrain.megatron.chunks import Chunks
from pretrain.megatron.layer_kind import Fp8, LayerKind
from pretrain.megatron.rotary import GatedSiLU, Rotary
from pretrain.parallel import Place

_ACTIVATIONS: Mapping[str, Callable[..., torch.Tensor]] = {
    "silu": functional.silu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
}


def padded_vocab_size(shape: ModelShape, tensor: int) -> int:
    """Return the vocabulary size padded so that every tensor-parallel rank holds equally many rows."""
    return -(-shape.vocab_size // tensor) * tensor


def build_model(
    shape: ModelShape,
    place: Place,
    *,
    dtype: torch.dtype,
    seq_length: int,
    recompute: bool = False,
    layers: LayerKind = "local",
    fp8: Fp8 | None = None,
) -> Chunks:
    """Return this process's part of the model on its device, weights not yet loaded."""
    with megatron_import():
        from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
    config = _transformer_config(shape, place, dtype, recompute=recompute, fp8=fp8)
    layer = _layer_spec(shape, layers)
    models: list[Any] = []
    for number in range(place.layout.virtual):
        specs = [layer] * len(place.layers(shape.num_layers, number))
        spec = TransformerBlockSubmodules(layer_specs=specs, layer_norm=RMSNorm)  # pyright: ignore[reportArgumentType]
        models.append(_build_chunk(shape, place, config, spec, number, seq_length=seq_length, kind=layers))
    return Chunks(models)


def _build_chunk(
    shape: ModelShape, place: Place, config: Any, spec: Any, number: int, *, seq_length: int, kind: LayerKind
) -> Any:
    with megatron_import():
        from megatron.core.models.gpt.gpt_model import GPTModel
    is_first = place.is_first_stage and number == 0
    model = GPTModel(
        config=config,
        transformer_layer_spec=spec,
        vocab_size=padded_vocab_size(shape, place.layout.tensor),
        max_sequence_length=seq_length,
        pre_process=is_first,
        post_process=place.is_last_stage and number == place.layout.virtual - 1,
        share_embeddings_and_output_weights=shape.is_tied,
        position_embedding_type="none" if kind == "local" else "rope",  # TorchAttention turns queries and keys itself
        rotary_base=shape.rope_theta,  # pyright: ignore[reportArgumentType]
        vp_stage=number if place.layout.virtual > 1 else None,
    )
    if kind != "local":
        model.rotary_pos_emb.inv_freq = _frequencies(shape)
    if shape.scales_embeddings and is_first:
        # Rounded to the training precision first, as transformers does.
        factor = float(torch.tensor(shape.hidden_size**0.5, dtype=config.params_dtype))
        embedding: Any = model.embedding
        embedding.register_forward_hook(lambda _module, _inputs, embedded: embedded * factor)
    return model.to(place.device)


def _layer_spec(shape: ModelShape, kind: LayerKind) -> Any:
    """Return megatron-core's description of a layer, with HanLM's norms and attention in it if it is local."""
    with megatron_import():
        from megatron.core.models.gpt import gpt_layer_specs as specs
        from megatron.core.transformer.spec_utils import ModuleSpec
    layer: Any
    if kind == "local":
        layer = specs.get_gpt_layer_local_spec(normalization="RMSNorm")
        layer.submodules.input_layernorm = layer.submodules.pre_mlp_layernorm = RMSNorm
        rotary = Rotary(_frequencies(shape))
        attention = ModuleSpec(module=TorchAttention, params={"rotary": rotary})
        layer.submodules.self_attention.submodules.core_attention = attention
    elif specs.HAVE_TE:
        layer = specs.get_gpt_layer_with_transformer_engine_spec()
    else:
        raise ConfigError(
            "--layers transformer-engine (or auto) expects a TransformerEngine that can be imported, got one that "
            "cannot; try `python -c 'import transformer_engine.pytorch'`, or pass --layers local."
        )
    _choose_modules(layer.submodules, shape)
    return layer


def _choose_modules(layer: Any, shape: ModelShape) -> None:
    """Put HanLM's gated unit into a layer, and norms of queries and keys and biases where the model has them."""
    attention, mlp = layer.self_attention.submodules, layer.mlp.keywords["submodules"]
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


def _transformer_config(
    shape: ModelShape, place: Place, dtype: torch.dtype, *, recompute: bool, fp8: Fp8 | None = None
) -> Any:
    from megatron.core.transformer.transformer_config import TransformerConfig

    on_cpu = place.device.type == "cpu"
    is_interleaved = place.layout.virtual > 1
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
        virtual_pipeline_model_parallel_size=place.layout.virtual if is_interleaved else None,
        overlap_p2p_comm=is_interleaved,
        batch_p2p_comm=not is_interleaved,  # both together are silently wrong: see Chunks
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
        fp8=fp8,
        fp8_recipe="tensorwise",  # scaled by what it multiplies: nothing to remember in a checkpoint
        recompute_granularity="full" if recompute else None,
        recompute_method="uniform" if recompute else None,
        recompute_num_layers=1 if recompute else None,
    )
