"""Cutting segments at rare pairs changes nothing that is learned, or says that it might."""

import weakref
from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer import vocabulary
from tokenizer.learn import WEIGHT_UNIT, Learned, learn
from tokenizer.piece_uses import piece_uses
from tokenizer.pieces import Pieces
from tokenizer.start import MAX_WEIGHT, start_from_characters

CHARS = "甲乙丙丁戊己"
WEAK_CHARS = "，。▁"
KNOWN = "甲乙丙丁，▁"
"""戊, 己 and 。 are spelled in bytes."""
WORD_CHARS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往"
SIZES = list(range(1, 13))


def texts(chars: str) -> st.SearchStrategy[dict[str, int]]:
    return st.dictionaries(st.text(chars, min_size=1, max_size=12), st.integers(1, 9), min_size=1, max_size=20)


def learned(
    counts: dict[str, int],
    base_pieces: list[str],
    num_pairs: int | None,
    *,
    pieces: Pieces = "han",
    num_new: int = SIZES[-1],
    min_gain: int = WEIGHT_UNIT,
) -> Learned:
    weighted = {segment: count * WEIGHT_UNIT for segment, count in counts.items()}
    start = start_from_characters(
        weighted,
        [["甲乙丙", "丁"], list(counts)],
        pieces,
        KNOWN + WORD_CHARS,
        base_pieces,
        num_new,
        num_pairs=num_pairs,
    )
    return learn(start, sizes=[*SIZES[: num_new - 1], num_new], min_gain=min_gain)


def assert_same(cut: Learned, whole: Learned, counts: dict[str, int]) -> None:
    assert cut.pieces == whole.pieces
    assert cut.gains == whole.gains
    assert (cut.saved == whole.saved).all()
    # Each part of the text uses the pieces as often.
    parts = [dict(list(counts.items())[::2]), dict(list(counts.items())[1::2])]
    assert (piece_uses(cut, counts, parts) == piece_uses(whole, counts, parts)).all()


@pytest.mark.parametrize(("pieces", "chars"), [("han", CHARS), ("han+punct+space", CHARS + WEAK_CHARS)])
@settings(max_examples=200, deadline=None)
@given(st.data(), st.lists(st.text("甲乙丙丁", min_size=2, max_size=4), unique=True, max_size=3), st.integers(1, 20))
def test_what_is_said_to_be_exact_is(
    pieces: Pieces, chars: str, data: st.DataObject, base_pieces: list[str], num_pairs: int
):
    counts = data.draw(texts(chars))
    whole, cut = (learned(counts, base_pieces, pairs, pieces=pieces) for pairs in (None, num_pairs))
    if cut.is_exact:
        assert_same(cut, whole, counts)


def test_many_texts_are_cut_and_learned_from_exactly():
    """Else the test above could pass because nothing is ever said to be exact."""
    num_exact = 0
    for seed in range(200):
        random = Random(seed)
        words = ["".join(random.choices(CHARS + WEAK_CHARS, k=2)) for _ in range(6)]
        counts = Counter("".join(random.choices(words, k=5)) for _ in range(60))
        cut = learned(counts, [], 16, pieces="han+punct+space", num_new=4)
        assert cut.runs is not None
        if cut.is_exact and cut.runs.least > 0:
            num_exact += 1
            assert_same(cut, learned(counts, [], None, pieces="han+punct+space", num_new=4), counts)
    assert num_exact >= 50


def test_a_text_that_holds_fewer_pieces_than_asked_for_is_learned_from_exactly_where_no_cut_pair_is_worth_a_piece():
    counts = {"甲乙": 9, "丙丁": 8, "甲乙丙丁": 1, "甲丙": 2}
    for num_pairs, least in ((2, 9), (3, 2)):
        cut = learned(counts, [], num_pairs, min_gain=8 * WEIGHT_UNIT)
        assert cut.runs is not None
        assert cut.runs.least == least * WEIGHT_UNIT
        assert cut.pieces == ["甲乙", "丙丁"]
        assert cut.is_exact == (least <= 8)


def test_runs_that_weigh_more_than_a_weight_can_hold_are_told():
    """Segment by segment they stay below, and 甲乙 counts more than 丙丁."""
    half = MAX_WEIGHT // WEIGHT_UNIT // 2
    counts = {f"{pair}{char}": half for pair in ("甲乙", "丙丁") for char in "天地玄"} | {
        "甲乙黄": half,
        "日月": half + 1,
    }
    cut = learned(counts, [], 3, num_new=1)
    assert cut.runs is not None
    assert cut.runs.least > 0
    assert not cut.is_exact
    assert cut.gains < learned(counts, [], None, num_new=1).gains == [4.0 * half]


def test_what_was_learned_from_too_deep_a_cut_is_let_go_before_learning_again(monkeypatch: pytest.MonkeyPatch):
    class Inexact:
        is_exact = False

    earlier: list[weakref.ref[Inexact]] = []

    def inexact(*_: Any, **__: Any) -> Inexact:
        result = Inexact()
        earlier.append(weakref.ref(result))
        return result

    def start(*_: Any) -> None:
        assert all(learned() is None for learned in earlier)

    monkeypatch.setattr(vocabulary, "learn", inexact)
    vocabulary._learn(SimpleNamespace(start=start), {}, (), "han", [1])
    assert len(earlier) == 3


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
