"""Layers of TransformerEngine, which cannot be had here: who gets them, who is refused, how weights are called.

Training with them is tried with stand-ins of the same shape and names, made of torch's operations.
"""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.functional import rms_norm

from hanlm.errors import ConfigError
from hanlm.megatron import megatron_import
from hanlm.tokens import open_tokens
from pretrain.config import Phase
from pretrain.families import read_shape
from pretrain.families.registry import FAMILIES
from pretrain.megatron import layer_kind
from pretrain.megatron.attention import TorchAttention
from pretrain.megatron.layer_kind import check_fp8, resolve_layers
from pretrain.train import plan, pretrain

LORA = {"phases": (Phase(trainable="lora", steps=2),)}
TRANSFORMER_ENGINE = {"layers": "transformer-engine"}


@pytest.fixture
def installed(monkeypatch):
    """Say that TransformerEngine and a GPU are there."""
    monkeypatch.setattr(layer_kind, "find_spec", lambda _name: object())
    monkeypatch.setattr(layer_kind, "import_module", lambda _name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.skipif(layer_kind.find_spec("transformer_engine") is not None, reason="it is here")
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            TRANSFORMER_ENGINE,
            "--layers transformer-engine expects layers of TransformerEngine, got a Python without it",
        ),
        ({"fp8": "hybrid"}, "--fp8 hybrid expects layers of TransformerEngine, got a Python without it"),
        ({"fp8": "e4m3", "layers": "local"}, "--fp8 e4m3 expects layers of TransformerEngine, got --layers local"),
        ({"fp8": "hybrid", "precision": "fp32"}, "--fp8 expects --precision bf16, got fp32"),
        ({**TRANSFORMER_ENGINE, "backend": "accelerate"}, "--layers is for --backend megatron"),
        ({"fp8": "hybrid", "backend": "accelerate"}, "--fp8 is for --backend megatron"),
    ],
)
def test_without_transformer_engine_what_needs_it_is_refused_before_anything_starts(settings, flags, sentence):
    config = settings(**({"precision": "auto"} | flags))
    for command in (plan, pretrain):
        with pytest.raises(ConfigError, match=sentence) as refused:
            command(config)
        assert refused.value.exit_code == 2
        assert "\n" not in str(refused.value)
    assert not config.out.with_name("out.work").exists()


def test_where_transformer_engine_is_there_but_broken_auto_takes_the_local_layers(settings, installed, monkeypatch):
    def broken(_name):
        raise ImportError("libcudart.so.13: no such file")

    monkeypatch.setattr(layer_kind, "import_module", broken)
    assert layer_kind.resolve_layers(settings()) == "local"
    with pytest.raises(ConfigError, match=r"got one that cannot be imported \(libcudart"):
        layer_kind.resolve_layers(settings(**TRANSFORMER_ENGINE))


def test_context_parallelism_is_refused_always(settings, installed):
    with pytest.raises(ConfigError, match=r"--context-parallel expects 1, got 2: .* never run; shorten --seq-length"):
        settings(context_parallel=2)


@pytest.mark.skipif(layer_kind.find_spec("transformer_engine") is not None, reason="it is here")
def test_auto_means_the_local_layers_here(settings):
    assert resolve_layers(settings()) == "local"


def test_auto_means_transformer_engine_where_it_and_a_gpu_are_there_and_nothing_is_in_its_way(settings, installed):
    assert resolve_layers(settings()) == "transformer-engine"
    assert resolve_layers(settings(fp8="hybrid", precision="bf16")) == "transformer-engine"
    assert resolve_layers(settings(layers="local")) == "local"
    for way in (LORA, {"isolate_documents": True}):
        assert resolve_layers(settings(**way)) == "local"
        for asked in (TRANSFORMER_ENGINE, {"fp8": "hybrid"}):
            with pytest.raises(ConfigError, match=r"expects layers of .*, got (phases of lora|--isolate)"):
                resolve_layers(settings(**way, **asked))


def test_without_a_gpu_transformer_engine_is_refused_or_not_taken(settings, installed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_layers(settings()) == "local"
    with pytest.raises(ConfigError, match="got a machine without a GPU"):
        resolve_layers(settings(**TRANSFORMER_ENGINE))


@pytest.mark.parametrize(
    ("flags", "sizes", "sentence"),
    [
        ({}, {"hidden_size": 40}, "hidden size divisible by 16, got 40"),
        ({"tensor_parallel": 4}, {"ffn_size": 96}, "feed-forward size divisible by 16, got 24"),
        ({"seq_length": 40}, {}, "--seq-length of a process divisible by 16, got 40"),
        ({"tensor_parallel": 2, "sequence_parallel": True, "seq_length": 48}, {}, "got 24"),
    ],
)
def test_sizes_that_cannot_be_multiplied_in_fp8_are_refused(settings, extended_model, flags, sizes, sentence):
    plain = {"ffn_size": 128, "num_heads": 8, "num_kv_heads": 8, "head_size": 16, "hidden_size": 128}
    shape = dataclasses.replace(read_shape(extended_model), **(plain | sizes))
    config = settings(fp8="hybrid", precision="bf16", **flags)
    check_fp8(dataclasses.replace(config, fp8=None), shape)
    with pytest.raises(ConfigError, match=sentence):
        check_fp8(config, shape)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_norms_in_front_of_linear_layers_are_called_otherwise(family):
    differing = {
        w.megatron: w.transformer_engine for w in FAMILIES[family].weights if w.megatron != w.transformer_engine
    }
    layer = "decoder.layers.{}."
    assert differing == {
        f"{layer}input_layernorm.weight": f"{layer}self_attention.linear_qkv.layer_norm_weight",
        f"{layer}pre_mlp_layernorm.weight": f"{layer}mlp.linear_fc1.layer_norm_weight",
    }


def stand_in_provider():
    """Return what names the modules of a layer, with stand-ins for those of TransformerEngine."""
    with megatron_import():
        from megatron.core.models.backends import LocalSpecProvider
        from megatron.core.tensor_parallel.layers import ColumnParallelLinear

    class NormedLinear(ColumnParallelLinear):
        """A norm and a linear layer in one, with the parameters of TransformerEngine's."""

        def __init__(self, input_size, output_size, *, config, **options):
            super().__init__(input_size, output_size, config=config, **options)
            self.layer_norm_weight = nn.Parameter(torch.ones(input_size, dtype=config.params_dtype))
            self.layer_norm_weight.sequence_parallel = config.sequence_parallel
            self.eps = config.layernorm_epsilon

        def forward(self, input_, *args, **options):
            normed = rms_norm(input_, (input_.shape[-1],), self.layer_norm_weight, self.eps)
            return super().forward(normed, *args, **options)

    class TurnedAttention(TorchAttention):
        """Attention to queries and keys that are turned already, as those that reach TransformerEngine's are."""

        def __init__(self, config, **options):
            super().__init__(config, rotary=lambda x_SBHK: x_SBHK.permute(1, 2, 0, 3), **options)

    class Provider(LocalSpecProvider):
        def fuse_layernorm_and_linear(self):
            return True

        def column_parallel_layer_norm_linear(self):
            return NormedLinear

        def core_attention(self):
            return TurnedAttention

    return Provider


@pytest.fixture
def stand_ins(monkeypatch):
    with megatron_import():
        from megatron.core.models.gpt import gpt_layer_specs

    monkeypatch.setattr(gpt_layer_specs, "HAVE_TE", True)
    monkeypatch.setattr(gpt_layer_specs, "TESpecProvider", stand_in_provider())
    for module in ("pretrain.megatron.backend", "pretrain.train"):
        monkeypatch.setattr(f"{module}.resolve_layers", lambda config: config.layers)


@pytest.mark.slow
def test_layers_of_those_names_load_train_and_come_back_and_go_on_as_the_local_ones(
    settings, stand_ins, read_losses, read_weights, kill
):
    same = {"steps": 6, "lr": 0.01, "new_rows_steps": 2, "save_every": 4}
    local = pretrain(settings("local", layers="local", **same))
    config = settings("fused", **TRANSFORMER_ENGINE, **same)
    fused = pretrain(config)
    expected = read_weights(local)
    moved = settings("moved", layers="local", **same)
    kill(moved, call=6)
    pretrain(dataclasses.replace(moved, **TRANSFORMER_ENGINE))
    for out in (fused, moved.out):
        assert read_losses(out) == pytest.approx(read_losses(local), abs=1e-5)
        for name, tensor in read_weights(out).items():
            torch.testing.assert_close(tensor, expected[name], atol=1e-4, rtol=0, msg=name)


def test_a_transformer_engine_that_cannot_be_imported_is_refused_in_one_sentence(settings, monkeypatch):
    for module in ("pretrain.megatron.backend", "pretrain.train"):
        monkeypatch.setattr(f"{module}.resolve_layers", lambda _config: "transformer-engine")
    with pytest.raises(ConfigError, match="expects a TransformerEngine that can be imported"):
        pretrain(settings())


def test_fp8_validates_windows_of_full_length_to_the_same_bits(settings, tiny_tokens, extended_model):
    """A window that is filled up scores what it scored; the flag alone is tried, in fp32."""
    from places import ALONE

    from pretrain.evaluate import Validation

    sizes = {"num_tokens": 500, "seq_length": 32, "batch_size": 4}
    tokens = [open_tokens(tiny_tokens)]
    short, full = (Validation(tokens, **sizes, full_length=flag) for flag in (False, True))
    assert {b.input_BT.shape for b, _ in full._batches(ALONE)} == {(4, 32)}
    assert len({b.input_BT.shape for b, _ in short._batches(ALONE)}) > 1
    for ours, theirs in zip(full._batches(ALONE), short._batches(ALONE), strict=True):
        assert int((ours[1] >= 0).sum()) == int((theirs[1] >= 0).sum())
