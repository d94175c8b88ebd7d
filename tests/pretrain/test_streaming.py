"""Weights go between folders and checkpoints one at a time: in shards, in their own types, in little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from family_bases import make_base
from family_parity import build_engine
from places import ALONE
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pretrain.checkpoints.checkpoint import Checkpoints
from pretrain.checkpoints.pending import sharded_writing
from pretrain.checkpoints.saving import Saving
from pretrain.families import read_shape
from pretrain.layout import Layout
from pretrain.megatron import backend
from pretrain.megatron.state import sharded_state
from pretrain.parallel import parallel
from pretrain.train import pretrain
from pretrain.weights.base_weights import HuggingFaceWeights
from pretrain.weights.checkpoint_tensors import CheckpointTensors
from pretrain.weights.convert import fuse, local_weights
from pretrain.weights.export_weights import write_weights
from pretrain.weights.safetensors_writer import SafetensorsWriter, Stored


def fused(base):
    """Return a reader of checkpoint tensors that makes them of the base's own, and the largest it made, in bytes."""
    shape, source, sizes = read_shape(base), HuggingFaceWeights(base), [0]
    weights = {w.checkpoint: w for w in shape.weights}

    def read(key, layer=None):
        weight = weights[key]
        whole = fuse(weight, [source(name) for name in weight.tensors(layer)], shape, vocab_rows=shape.vocab_size + 5)
        sizes.append(whole.nbytes)
        return whole.float()

    return read, sizes


def test_shards_hold_what_the_base_holds_and_are_named_by_an_index_that_transformers_reads(tmp_path):
    from transformers import AutoModelForCausalLM

    model = make_base(tmp_path / "base", "qwen2.5", dtype=torch.bfloat16)
    (tmp_path / "out").mkdir()
    write_weights(
        fused(tmp_path / "base")[0],
        tmp_path / "out",
        tmp_path / "base",
        read_shape(tmp_path / "base"),
        max_shard_bytes=20_000,
    )
    (tmp_path / "out" / "config.json").write_bytes((tmp_path / "base" / "config.json").read_bytes())
    shards = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(shards) > 3
    sizes = [sum(t.nbytes for t in load_file(s).values()) for s in shards]
    assert all(len(load_file(s)) == 1 for s, size in zip(shards, sizes, strict=True) if size > 20_000)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(sizes)
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "out" / file, framework="pt") as shard:
            assert shard.metadata() == {"format": "pt"}
            assert torch.equal(shard.get_tensor(name), model.state_dict()[name])
    again = AutoModelForCausalLM.from_pretrained(str(tmp_path / "out"), dtype="auto")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_each_tensor_keeps_its_own_type_and_buffers_and_a_tied_head_come_back(tmp_path):
    make_base(tmp_path / "base", "smollm")
    file = tmp_path / "base" / "model.safetensors"
    weights = {name: t.to(torch.bfloat16) if "norm" not in name else t for name, t in load_file(file).items()}
    weights["model.norm.weight"] = weights["model.norm.weight"].to(torch.float16)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.rand(3)
    save_file(weights, file)
    HuggingFaceWeights(tmp_path / "base").check(read_shape(tmp_path / "base"))
    (tmp_path / "out").mkdir()
    write_weights(fused(tmp_path / "base")[0], tmp_path / "out", tmp_path / "base", read_shape(tmp_path / "base"))
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert after.keys() == weights.keys()
    assert len({t.dtype for t in after.values()}) == 3
    for name, tensor in weights.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name], tensor), name


def test_tensors_of_odd_sizes_and_several_types_are_each_aligned(tmp_path):
    values = {"a": torch.rand(3).bfloat16(), "b": torch.rand(5), "c": torch.rand(1).half()}
    kinds = {"a": "BF16", "b": "F32", "c": "F16"}
    with SafetensorsWriter(tmp_path / "x", {n: Stored(kinds[n], v.shape) for n, v in values.items()}) as writer:
        for name in ("c", "a", "b"):
            writer.write(name, values[name])
    after = load_file(tmp_path / "x")
    assert all(torch.equal(after[name], value) for name, value in values.items())


def test_a_file_that_lacks_a_tensor_is_not_taken_for_whole(tmp_path):
    with pytest.raises(AssertionError, match="a"), SafetensorsWriter(tmp_path / "x", {"a": Stored("F32", [1])}):
        pass


def test_a_parameter_is_read_when_it_is_asked_for_and_is_the_callers_own(tmp_path):
    make_base(tmp_path / "base", "qwen2.5")
    shape, source, asked = read_shape(tmp_path / "base"), HuggingFaceWeights(tmp_path / "base"), []

    def read(name):
        asked.append(name)
        return source(name)

    names = [weight.megatron.format(layer) for weight, layer in shape.parameters()]
    weights = local_weights(names, read, shape, ALONE, vocab_rows=shape.vocab_size)
    assert set(weights) == set(names)
    assert not asked
    weights["decoder.final_layernorm.weight"].zero_()
    assert asked == ["model.norm.weight"]
    assert weights["decoder.final_layernorm.weight"].any()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_checkpoint_is_published_and_a_base_is_read_in_the_memory_of_a_few_tensors(tmp_path):
    """Both are ten times smaller than what all tensors together take in fp32."""
    sizes = {"num_hidden_layers": 32, "hidden_size": 256, "intermediate_size": 1024, "head_dim": 64}
    model = make_base(tmp_path / "base", "qwen3", dtype=torch.bfloat16, **sizes)
    num_bytes = 4 * sum(p.numel() for p in model.parameters())
    with parallel(Layout(), seed=0) as place:
        engine = build_engine(tmp_path / "base", read_shape(tmp_path / "base"), place, torch.float32)
        checkpoints = Checkpoints(tmp_path / "checkpoints", place, keep=1, saving=Saving(), prepare=sharded_writing)
        checkpoints.save(sharded_state(engine, with_optimizer=False), step=0, state={})
    (tmp_path / "out").mkdir()
    root = Path(__file__).parents[2]
    paths = [tmp_path / "base", checkpoints.path(0), tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("conversion_memory.py")), *map(str, paths)],
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests' / 'support'}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    written, loaded = map(int, done.stdout.split())
    assert num_bytes > 120e6
    assert 0 < written < num_bytes / 8, (written, num_bytes)
    assert loaded < num_bytes / 8, (loaded, num_bytes)
    before = HuggingFaceWeights(tmp_path / "base")
    after = HuggingFaceWeights(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 4
    assert all(torch.equal(before(name), after(name)) for name in before.names)


def test_a_layer_of_a_checkpoint_is_read_without_the_others(tmp_path):
    make_base(tmp_path / "base", "llama1", num_hidden_layers=3)
    with parallel(Layout(), seed=0) as place:
        engine = build_engine(tmp_path / "base", read_shape(tmp_path / "base"), place, torch.float32)
        checkpoints = Checkpoints(tmp_path / "checkpoints", place, keep=1, saving=Saving(), prepare=sharded_writing)
        checkpoints.save(sharded_state(engine, with_optimizer=False), step=0, state={})
        expected = [engine.masters[f"decoder.layers.{i}.mlp.linear_fc2.weight"].clone() for i in range(3)]
    read = CheckpointTensors(checkpoints.path(0))
    key = "decoder.layers.mlp.linear_fc2.weight"
    assert torch.equal(read(key), torch.stack(expected))
    assert all(torch.equal(read(key, layer), tensor) for layer, tensor in enumerate(expected))


def test_nothing_of_a_base_is_read_before_the_engine_asks_for_it(settings, monkeypatch):
    """The weights are read one by one: gathered beforehand, a process would hold all of its part twice."""
    read: list[str] = []
    before: list[int] = []
    original_read, original_engine = HuggingFaceWeights.__call__, backend._MegatronEngine

    def reading(self, name):
        read.append(name)
        return original_read(self, name)

    def building(*parts):
        before.append(len(read))
        return original_engine(*parts)

    monkeypatch.setattr(HuggingFaceWeights, "__call__", reading)
    monkeypatch.setattr(backend, "_MegatronEngine", building)
    pretrain(settings(steps=1))
    assert before == [0]
    assert len(read) > 20
