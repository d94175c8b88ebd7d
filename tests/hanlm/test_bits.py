"""Bits per byte: exact on known distributions, equal to PyTorch's cross entropy, bounded in memory."""

import math

import pytest
import torch

from hanlm.bits import IGNORE, bits_per_byte, token_nll


def test_uniform_model_costs_log2_vocab_bits_per_token():
    """Three scored tokens at log2(8) = 3 bits over 9 bytes (3 hanzi) is 1 bit per byte."""
    nll = token_nll(torch.zeros(1, 3, 8), torch.tensor([[1, 5, 7]]))
    assert bits_per_byte(nll.sum().item(), len("漢語好".encode())) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_token_nll_equals_cross_entropy_whatever_the_chunk(dtype: torch.dtype):
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(2, 7, 33, generator=generator) * 5).to(dtype)
    labels = torch.randint(33, (2, 7), generator=generator)
    labels[0, 3] = IGNORE
    expected = torch.nn.functional.cross_entropy(
        logits.double().flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORE
    )
    for max_chunk_elements in (1, 100, 10**6):
        nll = token_nll(logits, labels, max_chunk_elements=max_chunk_elements)
        assert nll.dtype == torch.float64
        assert nll.shape == labels.shape
        torch.testing.assert_close(nll.flatten(), expected, atol=5e-6, rtol=0)
        assert nll[0, 3] == 0


def test_unscored_rows_may_hold_anything():
    logits = torch.zeros(1, 2, 4)
    logits[0, 0] = math.nan
    nll = token_nll(logits, torch.tensor([[IGNORE, 2]]))
    assert nll.sum().item() == pytest.approx(math.log(4))


def test_extreme_logits_neither_overflow_nor_vanish():
    logits = torch.tensor([[[1e4, 0.0], [-1e4, 0.0]]])
    assert token_nll(logits, torch.tensor([[1, 1]])).tolist() == [[1e4, 0.0]]


def test_sum_is_exact_where_float32_would_drift():
    """100,000 tokens of ln(10) nats: a float32 running sum is off in the fifth digit, ours is not."""
    nll = token_nll(torch.zeros(1, 100_000, 10), torch.zeros(1, 100_000, dtype=torch.long))
    assert nll.sum().item() == pytest.approx(100_000 * math.log(10), rel=1e-7)


def test_no_tokens_cost_nothing():
    assert token_nll(torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.long)).sum().item() == 0.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="expected labels of shape"):
        token_nll(torch.zeros(1, 3, 8), torch.zeros(1, 2, dtype=torch.long))


def test_bits_need_a_positive_length():
    with pytest.raises(ValueError, match="positive"):
        bits_per_byte(1.0, 0)
