"""More of a language from some step on: what came before stays, and no set begins anew."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from draws import draw
from hypothesis import given
from hypothesis import strategies as st

from hanlm.tokens import TokenSet, open_tokens
from pretrain.watching.replay import Raise, cut_round, raised_shares, share_of
from pretrain.watching.samples import sample_parts


def a_set(lang: str, number: int) -> TokenSet:
    return TokenSet(
        path=Path(f"train-{number}"),
        split="train",
        domain=str(number),
        lang=lang,
        num_documents=1,
        num_tokens=1,
        num_bytes=1,
    )


@given(
    weights=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6),
    factor=st.floats(1.1, 10.0),
    max_share=st.floats(0.05, 0.95),
    times=st.integers(1, 4),
)
def test_raised_shares_sum_to_one_keep_proportions_and_end_at_the_cap(weights, factor, max_share, times):
    total = sum(weights)
    shares = {a_set("en-GB" if i % 2 else "zh", i): w / total for i, w in enumerate(weights)}
    raised = raised_shares(shares, [Raise(step=i, lang="en", factor=factor, max_share=max_share) for i in range(times)])
    before, after = share_of(shares, "en"), share_of(raised, "en")
    assert sum(raised.values()) == pytest.approx(1.0)
    assert after == pytest.approx(max(before, min(max_share, before * factor**times)))
    for lang in ("zh", "en"):
        mine = [s for s in shares if s.lang.startswith(lang)]
        ratios = [raised[s] / shares[s] for s in mine]
        assert ratios == pytest.approx([ratios[0]] * len(mine))


def test_a_round_is_cut_where_a_decision_falls_into_it():
    raises = [Raise(step=step, lang="en", factor=2.0, max_share=0.9) for step in (5, 12, 14)]
    assert cut_round(0, 5, raises) == [(5, 0)]
    assert cut_round(0, 10, raises) == [(5, 0), (5, 1)]
    assert cut_round(10, 10, raises) == [(2, 1), (2, 2), (6, 3)]
    assert cut_round(20, 10, raises) == [(10, 3)]


def ids_of(data, step):
    return torch.cat([batch.input_BT for batch in data.step(step)])


def test_steps_before_a_raise_are_as_they_were_and_those_after_hold_what_it_says(tiny_tokens, tmp_path):
    """English ids of the fixture are below 50."""
    tokens = open_tokens(tiny_tokens)
    mix = {"zh": 0.9, "en": 0.1}
    plain, raised = (draw(tokens, tmp_path, mix=mix, steps=60) for _ in range(2))
    raised.raise_shares([Raise(step=20, lang="en", factor=5.0, max_share=0.9)])
    assert all(torch.equal(ids_of(plain, step), ids_of(raised, step)) for step in range(20))
    for data, step, share in ((plain, 30, 0.1), (raised, 19, 0.1), (raised, 20, 0.5), (raised, 80, 0.5)):
        assert share_of(data.shares(step), "en") == pytest.approx(share)
    for begin, end in ((20, 60), (60, 110)):  # the rest of the pass, and the next one
        text = torch.cat([ids_of(raised, step) for step in range(begin, end)])
        text = text[text > 2]
        assert (text < 50).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_no_set_begins_anew_when_the_shares_change(tiny_tokens, tmp_path):
    """56 of about 100 English samples are drawn: none twice, as would be if the raise had shuffled them anew."""
    tokens = open_tokens(tiny_tokens)
    data = draw(tokens, tmp_path, mix={"zh": 0.9, "en": 0.1}, steps=60)
    data.raise_shares([Raise(step=20, lang="en", factor=3.0, max_share=0.9)])
    english = next(i for i, s in enumerate(data.shares(0)) if s.lang == "en")
    drawn: Counter[tuple[int, int]] = Counter()
    for step in range(60):
        data.step(step)
        train, first = data.locate(step)
        for i in range(first, first + 4):
            parts = sample_parts(train, i)
            if parts.set_number == english:
                drawn[int(parts.document_P[0]), int(parts.begin_P[0])] += 1
    assert len(train.datasets[english].parts[0]) > 70
    assert set(drawn.values()) == {1}
    assert len(drawn) == pytest.approx(20 * 4 * 0.1 + 40 * 4 * 0.3, abs=3)


def test_a_set_that_runs_out_gets_more_samples_in_another_order(tiny_tokens, tmp_path):
    tokens = open_tokens(tiny_tokens)
    data = draw(tokens, tmp_path, mix={"zh": 0.98, "en": 0.02}, steps=60)
    data.raise_shares([Raise(step=4, lang="en", factor=45.0, max_share=0.9)])
    data.step(4)
    train, _ = data.locate(4)
    english = next(i for i, s in enumerate(data.shares(0)) if s.lang == "en")
    parts = train.datasets[english].parts
    assert len(parts) == 2
    assert train.dataset_sample_index.max() >= len(parts[0])
    again = draw(tokens, tmp_path / "again", mix={"zh": 0.98, "en": 0.02}, steps=60)
    again.raise_shares([Raise(step=4, lang="en", factor=45.0, max_share=0.9)])
    assert all(torch.equal(ids_of(data, step), ids_of(again, step)) for step in range(60))
