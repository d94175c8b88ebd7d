"""Rotary positions and the gated unit with their own gradients: what transformers and autograd give."""

import torch
from torch.nn.functional import silu
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from pretrain.megatron.rotary import GatedSiLU, Rotary

FREQUENCY = 10_000.0 ** (-torch.arange(0, 1, 1 / 6))


def heads(length: int = 7, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(length, 2, 3, 12, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_heads_are_turned_as_in_transformers():
    x_SBHK = heads(dtype=torch.float32)
    angles = torch.outer(torch.arange(7.0), FREQUENCY).repeat(1, 2)[None]
    x_BHSK = x_SBHK.permute(1, 2, 0, 3)
    expected, _ = apply_rotary_pos_emb(x_BHSK, x_BHSK, angles.cos(), angles.sin())
    torch.testing.assert_close(Rotary(FREQUENCY)(x_SBHK), expected, atol=1e-6, rtol=1e-6)


def test_the_gradient_turns_back():
    x_SBHK = heads().requires_grad_()
    assert torch.autograd.gradcheck(Rotary(FREQUENCY), (x_SBHK,))


def test_angles_fit_what_is_asked_for_next():
    """Longer than before, shorter, and in another precision."""
    rotary = Rotary(FREQUENCY)
    for length, dtype in ((4, torch.float32), (7, torch.float32), (3, torch.float32), (7, torch.bfloat16)):
        x_SBHK = heads(length, dtype=dtype)
        got = rotary(x_SBHK)
        assert got.dtype == dtype
        assert torch.equal(got, Rotary(FREQUENCY)(x_SBHK))


def test_lengths_of_heads_stay_and_scores_depend_on_distance_alone():
    x_SBHK = heads()
    turned_BHSK = Rotary(FREQUENCY)(x_SBHK)
    torch.testing.assert_close(turned_BHSK.norm(dim=-1), x_SBHK.permute(1, 2, 0, 3).norm(dim=-1))
    same = x_SBHK[:1].expand(7, -1, -1, -1).contiguous()
    turned = Rotary(FREQUENCY)(same)
    scores = turned @ turned.transpose(-1, -2)
    for offset in (1, 3):
        diagonal = scores.diagonal(offset, dim1=-2, dim2=-1)
        torch.testing.assert_close(diagonal, diagonal[..., :1].expand_as(diagonal), atol=1e-6, rtol=1e-6)


def test_the_gated_unit_is_silu_times_the_other_half():
    both = heads().requires_grad_()
    gate, up = both.chunk(2, dim=-1)
    torch.testing.assert_close(GatedSiLU()(both), silu(gate) * up)
    assert torch.autograd.gradcheck(GatedSiLU(), (both,))
