"""Budgets in steps and seconds, and the learning rate that follows."""

import pytest

from sft.budget import Budget, lr_factor


def test_the_learning_rate_rises_over_the_warmup_and_falls_to_zero():
    factors = [lr_factor(i / 100, 0.1) for i in range(101)]
    assert factors[0] == 0
    assert factors[10] == pytest.approx(1.0)
    assert factors[:11] == sorted(factors[:11])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0.0)
    assert lr_factor(0.0, 0.0) == 1.0


def test_a_budget_is_spent_by_steps_or_by_seconds_whichever_is_first():
    assert Budget(num_steps=10).share(5) == 0.5
    assert Budget(num_steps=10, seconds=100, spent=80).share(5) == pytest.approx(0.8)
    assert Budget(num_steps=10, seconds=100, spent=10).share(5) == 0.5
    assert Budget(num_steps=10, seconds=1, spent=5).share(0) == 1.0


def test_the_clock_runs_on_from_what_earlier_tries_spent():
    budget = Budget(num_steps=10, seconds=100, spent=7)
    assert budget.elapsed() == 7
    budget.start()
    assert 7 < budget.elapsed() < 8 or budget.elapsed() == pytest.approx(7, abs=0.5)
