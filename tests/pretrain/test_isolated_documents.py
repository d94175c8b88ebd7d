"""Packed documents that are kept apart: none sees another, at every layout."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlm.devices import resolve_dtype
from pretrain.data.batches import document_mask
from pretrain.families import read_shape
from pretrain.layout import Layout
from pretrain.megatron.model import build_model, padded_vocab_size
from pretrain.parallel import parallel
from pretrain.train import pretrain
from pretrain.weights.base_weights import HuggingFaceWeights
from pretrain.weights.convert import local_weights

EOS = 2


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_a_token_attends_to_itself_and_to_what_is_before_it_in_its_document(ids: list[int]):
    mask_TT = document_mask(torch.tensor([ids]), EOS)[0, 0]
    for query in range(len(ids)):
        begin = max((i + 1 for i in range(query) if ids[i] == EOS), default=0)
        assert mask_TT[query].tolist() == [begin <= key <= query for key in range(len(ids))]


def test_a_changed_document_leaves_the_logits_of_the_others_alone(extended_model):
    shape = read_shape(extended_model)
    with parallel(Layout(), seed=0) as place:
        [model] = build_model(shape, place, dtype=resolve_dtype("fp32"), seq_length=16).models
        names = [name for name, _ in model.named_parameters()]
        rows = padded_vocab_size(shape, 1)
        weights = local_weights(names, HuggingFaceWeights(extended_model), shape, place, vocab_rows=rows)
        for name, parameter in model.named_parameters():
            parameter.data.copy_(weights[name])

        def logits(ids: list[int], *, isolated: bool) -> torch.Tensor:
            input_BT = torch.tensor([ids])
            mask = document_mask(input_BT, EOS) if isolated else None
            with torch.no_grad():
                return model(input_BT, torch.arange(len(ids))[None], mask)[0]

        one = [1, 20, 21, 22, EOS, 1, 30, 31, EOS, 1, 40, 41]
        other = [1, 20, 99, 22, EOS, 1, 30, 31, EOS, 1, 40, 41]
        assert torch.equal(logits(one, isolated=True)[5:], logits(other, isolated=True)[5:])
        assert not torch.equal(logits(one, isolated=False)[5:], logits(other, isolated=False)[5:])
        alone = logits(one[5:9], isolated=False)
        torch.testing.assert_close(logits(one, isolated=True)[5:9], alone, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_every_layout_keeps_them_apart_alike(settings, read_losses, run_all):
    one = settings("one", isolate_documents=True)
    layouts = {
        "tp": {"tensor_parallel": 2, "sequence_parallel": True},
        "pp": {"pipeline_parallel": 2},
        "recomputed": {"recompute": True},
    }
    configs = [dataclasses.replace(one, out=one.out.with_name(name), **flags) for name, flags in layouts.items()]
    run_all(configs, processes=2)
    expected = list(read_losses(pretrain(one)).values())
    packed = list(read_losses(pretrain(settings("packed"))).values())
    assert max(abs(a - b) for a, b in zip(expected, packed, strict=True)) > 1e-3
    for config in configs:
        assert list(read_losses(config.out).values()) == pytest.approx(expected, abs=2e-4), config.out.name
