"""Each way of starting new rows: where its rows lie, in every matrix, dtype and arrangement of files."""

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from extending import extended, tensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from hanlm.errors import ConfigError
from tokenizer.extend import ExtendConfig, extend, plan
from tokenizer.families import read_base
from tokenizer.mixtures import mean_mixtures, random_mixtures, tree_mixtures
from tokenizer.rows import moments, new_rows, plan_rows
from tokenizer.safetensor_files import StoredRows, overwrite_rows

STARTS = ["random", "mean", "sub-token-mean", "convex-hull", "merge-tree"]
EMBEDDING = "model.embed_tokens.weight"


@st.composite
def trees(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    """A base, and parents that are base rows or new rows before."""
    num_base = draw(st.integers(1, 12))
    parents: list[list[int]] = []
    for i in range(draw(st.integers(1, 20))):
        parents.append(draw(st.lists(st.integers(0, num_base + i - 1), min_size=1, max_size=5)))
    return num_base, parents


@given(trees(), st.integers(0, 3))
def test_every_mixture_is_a_point_of_the_convex_hull_of_base_rows(tree, seed):
    num_base, parents = tree
    for mixtures in (
        mean_mixtures(parents, num_base),
        tree_mixtures(parents, num_base),
        random_mixtures(parents, num_base, seed),
    ):
        assert len(mixtures) == len(parents)
        for mixture in mixtures:
            assert all(0 <= i < num_base and weight >= 0 for i, weight in mixture.items())
            assert sum(mixture.values()) == pytest.approx(1)


def test_characters_of_the_same_bytes_in_another_order_start_apart():
    a, b, c = tree_mixtures([[1, 2, 3], [3, 2, 1], [1, 2, 4]], 8)
    assert a == pytest.approx({1: 1 / 7, 2: 2 / 7, 3: 4 / 7})
    assert a != b
    assert a != c


def stored(tmp_path: Path, matrix: torch.Tensor) -> StoredRows:
    save_file({"x": matrix}, tmp_path / "x.safetensors")
    return StoredRows(tmp_path / "x.safetensors", "x")


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_padding_rows_are_the_mean_of_the_base_and_no_row_of_the_bases_padding_counts(tmp_path, start, dtype):
    matrix = torch.randn(10, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    matrix[8:] = 1e4
    rows = stored(tmp_path, matrix)
    made = np.concatenate(list(new_rows(rows, plan_rows(start, [[1, 2, 3], [8, 1], [2]], 8, 0), 16).blocks))
    assert made.shape == (8, 16)
    np.testing.assert_allclose(made[3:], np.tile(matrix[:8].float().mean(0).numpy(), (5, 1)), atol=1e-6)
    assert np.abs(made).max() < 10


def test_the_mean_of_sub_tokens_is_their_mean(tmp_path):
    matrix = torch.randn(10, 16)
    plan = plan_rows("sub-token-mean", [[1, 2, 3, 3], [4]], 10, 0)
    made = np.concatenate(list(new_rows(stored(tmp_path, matrix), plan, 12).blocks))
    np.testing.assert_allclose(made[0], matrix[[1, 2, 3, 3]].mean(0).numpy(), atol=1e-6)
    np.testing.assert_allclose(made[1], matrix[4].numpy(), atol=1e-6)


@pytest.mark.parametrize("start", ["random", "convex-hull"])
def test_drawn_rows_are_the_same_for_a_seed_and_others_for_another(tmp_path, start):
    rows = stored(tmp_path, torch.randn(10, 16))

    def made(seed: int) -> np.ndarray:
        plan = plan_rows(start, [[1, 2, 3], [10, 4]] * 600, 10, seed)
        return np.concatenate(list(new_rows(rows, plan, 1300).blocks))

    np.testing.assert_array_equal(made(0), made(0))
    assert np.abs(made(0)[:1200] - made(1)[:1200]).min(axis=0).max() > 0


def test_moments_are_those_of_the_whole_matrix_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenizer.safetensor_files._CHUNK_BYTES", 256)
    matrix = torch.randn(40, 16)
    mean, deviation = moments(stored(tmp_path, matrix), 37)
    np.testing.assert_allclose(mean, matrix[:37].mean(0).numpy(), atol=1e-6)
    assert deviation == pytest.approx(float(matrix[:37].std(correction=0)), rel=1e-5)


@pytest.mark.parametrize("start", STARTS)
def test_memory_is_bounded_by_blocks_and_not_by_the_matrix(tmp_path, monkeypatch, start):
    monkeypatch.setattr("tokenizer.safetensor_files._CHUNK_BYTES", 1 << 16)
    rows = stored(tmp_path, torch.randn(20_000, 128).to(torch.bfloat16))
    more = new_rows(rows, plan_rows(start, [[1, 2, 3]] * 5_000, 20_000, 0), 25_000)
    tracemalloc.start()
    made = sum(len(block) for block in more.blocks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made == 5_000
    assert peak < 20_000 * 128 * 4 / 4  # a quarter of the matrix in float32


@pytest.mark.parametrize("start", STARTS)
def test_a_sharded_untied_bf16_model_gets_the_rows_of_the_whole_one(tiny_model_folder, text_file, tmp_path, start):
    folders = []
    for name, size in (("whole", "1GB"), ("sharded", "40KB")):
        folder = Path(shutil.copytree(tiny_model_folder, tmp_path / name))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size=size)
        folders.append(extended(folder, text_file, tmp_path / f"{name}-out", init=start, pad_to_multiple=64))
    whole, sharded = map(tensors, folders)
    assert len(list(folders[1].glob("*.safetensors"))) > 1
    assert whole.keys() == sharded.keys()
    assert {"lm_head.weight", EMBEDDING} <= whole.keys()
    for name, tensor in whole.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, sharded[name])


def test_spellings_leave_out_a_bare_space(tiny_model_folder, extended_folder):
    base, new = read_base(tiny_model_folder), read_base(extended_folder)
    space = next(i for i, p in enumerate(base.proto.pieces) if p.piece == "▁")
    spelled = new.forms().spelled_by(base.forms(), base.num_tokens)
    assert len(spelled) == len(new.forms().merge_parents(base.num_tokens)) > 30
    assert all(space not in ids for ids in spelled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_are_overwritten_in_place(tmp_path, dtype):
    path = tmp_path / "a.safetensors"
    before = {"a": torch.randn(5, 4).to(dtype), "x": torch.randn(6, 4).to(dtype), "z": torch.randn(3).to(dtype)}
    save_file(before, path)
    rows = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    overwrite_rows(path, "x", 3, rows)
    after = load_file(path)
    assert torch.equal(after["x"][3:5], torch.from_numpy(rows).to(dtype))
    after["x"][3:5] = before["x"][3:5]
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_way_is_named_in_the_manifest(tiny_model_folder, text_file, tmp_path):
    out = extended(tiny_model_folder, text_file, tmp_path / "out", init="mean")
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["config"]["init"] == "mean"


def test_ways_that_read_text_ask_for_a_corpus(tmp_path):
    with pytest.raises(ConfigError, match="pass --corpus"):
        ExtendConfig(
            base=tmp_path, out=tmp_path / "o", method="merge-spm", spm=tmp_path / "zh.model", init="calibrated"
        )


@pytest.mark.parametrize("step", [plan, extend])
def test_a_way_that_is_named_for_a_tokenizer_without_a_model_is_refused(
    tiny_model_folder, chinese_file, tmp_path, step
):
    config = ExtendConfig(
        base=tiny_model_folder / "tokenizer.model",
        corpus=(chinese_file,),
        num_new_tokens=9,
        init="mean",
        out=tmp_path / "out",
    )
    with pytest.raises(ConfigError, match="without a model"):
        step(config)
    assert not list(tmp_path.glob("out*"))
