"""The fused output layer and loss equals torch's own, value and gradients."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from pretrain.megatron import loss as loss_module
from pretrain.megatron.loss import VocabPart, linear_cross_entropy


def whole(num_rows: int, num_total: int | None = None) -> VocabPart:
    return VocabPart(num_rows=num_rows, num_total=num_total or num_rows, rank=0, group=None)


@pytest.mark.parametrize("block", [2**26, 100, 1])
def test_value_and_gradients_equal_those_of_cross_entropy(monkeypatch, block):
    monkeypatch.setattr(loss_module, "_BLOCK_ELEMENTS", block)
    torch.manual_seed(0)
    hidden, weight = torch.randn(7, 8, requires_grad=True), torch.randn(31, 8, requires_grad=True)
    labels = torch.randint(0, 31, (7,))
    expected = cross_entropy(hidden @ weight.T, labels)
    expected_grads = torch.autograd.grad(expected * 3, (hidden, weight))
    got, nll = linear_cross_entropy(hidden, weight, labels, scale=1 / 7, vocab=whole(31))
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(nll, cross_entropy(hidden @ weight.T, labels, reduction="none"))
    for a, b in zip(torch.autograd.grad(got * 3, (hidden, weight)), expected_grads, strict=True):
        torch.testing.assert_close(a, b)


def test_padding_rows_take_no_probability_and_no_gradient():
    torch.manual_seed(0)
    hidden, weight = torch.randn(5, 8), torch.randn(12, 8, requires_grad=True)
    labels = torch.randint(0, 9, (5,))
    got, _ = linear_cross_entropy(hidden, weight, labels, scale=1 / 5, vocab=whole(12, 9))
    torch.testing.assert_close(got, cross_entropy(hidden @ weight[:9].T, labels))
    got.backward()
    assert weight.grad is not None
    assert weight.grad[9:].eq(0).all()
    assert weight.grad[:9].ne(0).any()


def test_the_loss_of_bf16_logits_is_summed_in_fp32():
    torch.manual_seed(0)
    hidden, weight = torch.randn(64, 32).bfloat16(), torch.randn(500, 32).bfloat16()
    labels = torch.randint(0, 500, (64,))
    got, nll = linear_cross_entropy(hidden, weight, labels, scale=1 / 64, vocab=whole(500))
    assert got.dtype == nll.dtype == torch.float32
    torch.testing.assert_close(got, cross_entropy((hidden @ weight.T).float(), labels), atol=1e-6, rtol=1e-6)
