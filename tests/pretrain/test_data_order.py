"""Which samples a step sees is decided by the seed alone."""

import dataclasses

import pytest
import torch
from places import ALONE

from hanlm.tokens import open_tokens
from pretrain.data.batches import TrainingData
from pretrain.data.mixture import mixture


def make_data(tokens, folder, place=ALONE, *, micro=1, seed=0, round_steps=10, mix=None):
    shares = mixture([tokens], mix or {})
    return TrainingData(
        [(shares, round_steps)],
        place,
        seq_length=16,
        global_batch_size=4,
        micro_batch_size=micro,
        eos_token_id=2,
        seed=seed,
        cache=folder,
    )


def rows(data, step):
    return torch.cat([torch.cat([b.input_BT, b.label_BT], dim=1) for b in data.step(step)])


@pytest.mark.fault(7)
def test_any_number_of_data_parallel_ranks_sees_the_same_samples_of_a_step(tiny_tokens, tmp_path):
    tokens = open_tokens(tiny_tokens)
    alone = make_data(tokens, tmp_path, micro=2)
    ranks = [make_data(tokens, tmp_path, dataclasses.replace(ALONE, data_rank=rank, data_size=2)) for rank in range(2)]
    for step in (0, 3, 9, 10, 25):  # the last three are in later rounds
        assert torch.equal(rows(alone, step), torch.cat([rows(r, step) for r in ranks]))


def test_labels_are_the_next_tokens_and_a_seed_decides_the_order(tiny_tokens, tmp_path):
    tokens = open_tokens(tiny_tokens)
    batch = make_data(tokens, tmp_path / "a").step(0)[0]
    assert torch.equal(batch.input_BT[:, 1:], batch.label_BT[:, :-1])
    first, again, other = (rows(make_data(tokens, tmp_path / str(i), seed=s), 1) for i, s in enumerate((0, 0, 1)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_mixture_is_what_the_batches_hold(tiny_tokens, tmp_path):
    """English ids of the fixture are below 50, Chinese from 280 on."""
    tokens = open_tokens(tiny_tokens)
    data = make_data(tokens, tmp_path, round_steps=50, mix={"zh": 0.25, "en": 0.75})
    ids = torch.cat([rows(data, step) for step in range(50)])
    text = ids[ids > 2]
    assert (text < 50).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_every_rank_begins_a_round_at_the_same_step(tiny_tokens, tmp_path, monkeypatch):
    """Building one is a barrier: a rank that came to it a step later than another would wait for ever."""
    tokens, begun = open_tokens(tiny_tokens), []
    original = TrainingData._build
    monkeypatch.setattr(TrainingData, "_build", lambda self, n: (begun.append(n), original(self, n))[1])
    ranks = [make_data(tokens, tmp_path, dataclasses.replace(ALONE, data_rank=rank, data_size=4)) for rank in range(4)]
    for step in range(21):
        for rank in ranks:
            rank.step(step)
        assert begun == sorted(4 * [*range(step // 10 + 1)])
