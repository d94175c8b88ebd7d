"""The rate follows the share of a phase that is done, by steps or by the clock."""

import math

import pytest
import torch

from pretrain.config import Phase
from pretrain.schedule import Progress, build_scheduler, set_rate


class Optimizer:
    """What Megatron's scheduler needs of an optimizer."""

    def __init__(self) -> None:
        self.param_groups = [
            {"params": [torch.zeros(1)], "wd_mult": 1.0},
            {"params": [torch.zeros(1)], "wd_mult": 0.0},
        ]


def test_the_rate_rises_linearly_and_falls_by_a_cosine_and_norms_do_not_decay():
    optimizer = Optimizer()
    scheduler = build_scheduler(optimizer, Phase(lr=2.0, steps=1), min_lr_ratio=0.1, warmup_ratio=0.2, decay=0.3)
    seen = {}
    for share in (0.1, 0.2, 0.6, 1.0):
        set_rate(scheduler, share)
        seen[share] = optimizer.param_groups[0]["lr"]
    cosine = 0.2 + 1.8 * 0.5 * (1 + math.cos(math.pi * 0.5))
    assert seen == pytest.approx({0.1: 1.0, 0.2: 2.0, 0.6: cosine, 1.0: 0.2})
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.3, 0.0]


def test_by_the_clock_the_share_is_of_the_seconds_left_by_earlier_phases():
    phases = [Phase(trainable="new_rows", steps=4), Phase(seconds=10.0, include_earlier=True)]
    progress = Progress()
    for _ in range(4):
        progress.done(0.5)
    assert progress.share(phases[0]) == 1.0
    progress.next_phase()
    assert progress.share(phases[1]) == 0.0
    assert 0 < progress.share(phases[1], ahead=1) <= 0.01
    progress.done(2.0)
    assert progress.share(phases[1]) == pytest.approx(2 / 8)
    assert progress.share(phases[1], ahead=1) == pytest.approx(4 / 8)
    assert progress.overall(phases) == pytest.approx(4 / 10)
    progress.done(6.5)
    assert progress.share(phases[1]) == 1.0


def test_seconds_of_a_phase_are_its_own_unless_it_says_otherwise():
    progress = Progress(elapsed_seconds=100.0, phase=1, phase_started_seconds=100.0)
    progress.done(5.0)
    assert progress.share(Phase(seconds=10.0)) == pytest.approx(0.5)
    assert progress.share(Phase(seconds=50.0, include_earlier=True)) == 1.0
