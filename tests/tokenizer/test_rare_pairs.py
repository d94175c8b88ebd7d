"""Cutting segments at rare pairs changes nothing that is learned, or says that it might."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer.domain_use import usage
from tokenizer.learn import WEIGHT_UNIT, Learned, learn
from tokenizer.start import start_from_characters

CHARS = "甲乙丙丁戊己"
WORD_CHARS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往"
COUNTS = st.dictionaries(st.text(CHARS, min_size=1, max_size=12), st.integers(1, 9), min_size=1, max_size=20)
SIZES = list(range(1, 13))


def learned(counts: dict[str, int], base_pieces: list[str], num_pairs: int | None) -> Learned:
    weighted = {segment: count * WEIGHT_UNIT for segment, count in counts.items()}
    start = start_from_characters(
        weighted,
        [["甲乙丙", "丁"], list(counts)],
        "han",
        "甲乙丙丁" + WORD_CHARS,
        base_pieces,
        SIZES[-1],
        num_pairs=num_pairs,
    )
    return learn(start, sizes=SIZES, min_gain=WEIGHT_UNIT)


@settings(max_examples=200, deadline=None)
@given(COUNTS, st.lists(st.text("甲乙丙丁", min_size=2, max_size=4), unique=True, max_size=3), st.integers(1, 20))
def test_what_is_said_to_be_exact_is(counts: dict[str, int], base_pieces: list[str], num_pairs: int):
    whole, cut = (learned(counts, base_pieces, pairs) for pairs in (None, num_pairs))
    if cut.is_exact:
        assert cut.pieces == whole.pieces
        assert cut.gains == whole.gains
        assert (cut.saved == whole.saved).all()
        # Each part of the text uses the pieces as often.
        parts = [dict(list(counts.items())[::2]), dict(list(counts.items())[1::2])]
        assert (usage(cut, counts, parts) == usage(whole, counts, parts)).all()


@pytest.fixture(scope="module")
def counts() -> Counter[str]:
    """Segments of words that follow each other freely: inside words pairs are frequent, between them rare."""
    random = Random(0)
    words = ["".join(random.choices(WORD_CHARS, k=2)) for _ in range(200)]
    return Counter("".join(random.choices(words, k=6)) for _ in range(3000))


def test_a_text_of_words_is_cut_and_learned_from_exactly(counts: Counter[str]):
    cut = learned(counts, [], 40)
    assert cut.is_exact
    assert cut.runs is not None
    assert cut.runs.least > 0
    assert cut.runs.lengths.sum() < sum(map(len, counts)) / 2
    assert cut.pieces == learned(counts, [], None).pieces
    assert len(cut.pieces) == SIZES[-1]


def test_too_deep_a_cut_is_told(counts: Counter[str]):
    cut = learned(counts, [], 2)
    assert not cut.is_exact
    assert cut.pieces != learned(counts, [], None).pieces


def test_runs_hold_all_of_the_text(counts: Counter[str]):
    cut = learned(counts, [], 40)
    assert cut.runs is not None
    weights = cut.runs.totals(np.array(list(counts.values()), np.float64)[:, np.newaxis])[:, 0]
    assert (weights * cut.runs.lengths).sum() == sum(len(s) * n for s, n in counts.items())
