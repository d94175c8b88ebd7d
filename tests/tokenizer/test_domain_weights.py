"""Domains weigh by a power of their size, so that a small one is not starved."""

import pytest

from tokenizer.learn import WEIGHT_UNIT
from tokenizer.vocabulary import MAX_UPWEIGHT, weighted_segments

LARGE = {"法律条文规定": 300, "第一条": 200}
SMALL = {"煮面条": 100, "放盐": 50}


def weight_of(weighted: dict[str, int], domain: dict[str, int]) -> float:
    return sum(len(segment) * weighted[segment] for segment in domain) / WEIGHT_UNIT


def test_by_size_every_occurrence_counts_once():
    assert weighted_segments({"a": LARGE, "b": SMALL}, 1.0) == {s: n * WEIGHT_UNIT for s, n in (LARGE | SMALL).items()}


@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.5, 1.0])
def test_shares_follow_the_power_and_the_whole_keeps_its_weight(exponent: float):
    weighted = weighted_segments({"a": LARGE, "b": SMALL}, exponent)
    sizes = [sum(len(s) * n for s, n in domain.items()) for domain in (LARGE, SMALL)]
    weights = [weight_of(weighted, domain) for domain in (LARGE, SMALL)]
    assert weights[1] / weights[0] == pytest.approx((sizes[1] / sizes[0]) ** exponent, rel=0.01)
    assert sum(weights) == pytest.approx(sum(sizes), rel=0.01)


def test_a_page_that_calls_itself_a_domain_does_not_rule():
    weighted = weighted_segments({"a": {"法律条文规定": 100_000}, "b": {"煮面条": 1}}, 0.0)
    assert weighted["煮面条"] == MAX_UPWEIGHT * WEIGHT_UNIT


def test_a_segment_of_two_domains_counts_for_both():
    weighted = weighted_segments({"a": {"一样": 10}, "b": {"一样": 10}}, 0.5)
    assert weighted == {"一样": 20 * WEIGHT_UNIT}


def test_a_sampled_domain_weighs_as_if_it_were_whole():
    whole = {"a": {"天地": 4000, "玄黄": 2000}, "b": {"宇宙": 900}}
    sampled = {"a": {"天地": 1000, "玄黄": 500}, "b": {"宇宙": 900}}
    for exponent in (0.0, 0.5, 1.0):
        expected, got = weighted_segments(whole, exponent), weighted_segments(sampled, exponent, {"a": 0.25})
        assert got["天地"] / got["宇宙"] == pytest.approx(expected["天地"] / expected["宇宙"], rel=1e-3)
        assert got["天地"] == 2 * got["玄黄"]
