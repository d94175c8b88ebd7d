"""Choosing among more pieces than asked for: prefixes, parents, reachability, and what the choice prefers."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer.choice import Candidates, choose
from tokenizer.learn import WEIGHT_UNIT, learn, replay
from tokenizer.merging import is_reachable, last_parts
from tokenizer.piece_uses import piece_uses
from tokenizer.start import start_from_characters

CHARS = "甲乙丙丁戊"
DOMAIN = st.dictionaries(st.text(CHARS, min_size=1, max_size=8), st.integers(1, 9), min_size=1, max_size=8)


def started(weighted, held_out, num_new):
    return start_from_characters(weighted, held_out, "han", "甲", (), num_new)


def candidates_of(domains: list[Mapping[str, int]], lexicon: Mapping[str, int], num: int):
    weighted: Counter[str] = Counter()
    for part in (*domains, lexicon):
        weighted.update({segment: WEIGHT_UNIT * count for segment, count in part.items()})
    learned = learn(started(weighted, (), num), sizes=[num], min_gain=WEIGHT_UNIT)
    used = piece_uses(learned, weighted, [*domains, lexicon])
    sizes = np.array([sum(len(s) * n for s, n in domain.items()) for domain in domains], float)
    return learned, Candidates(learned.pieces, used[:, :-1], used[:, -1], sizes / sizes.sum())


@settings(max_examples=150, deadline=None)
@given(st.lists(DOMAIN, min_size=2, max_size=4), DOMAIN, st.integers(1, 25))
def test_pieces_stand_after_their_parts_live_and_a_smaller_budget_with_the_same_share_is_a_prefix(
    domains, lexicon, num
):
    learned, candidates = candidates_of(domains, lexicon, 40)
    choice = choose(candidates, {"甲": 0.0}, -1.0, num)
    assert len(choice.pieces) <= min(num, len(learned.pieces))
    assert set(choice.pieces) <= set(learned.pieces)
    scores = {"甲": 0.0} | {piece: -1.0 - i for i, piece in enumerate(choice.pieces)}
    for i, piece in enumerate(choice.pieces):
        assert is_reachable(piece, scores)
        if len(piece) > 1:
            assert set(last_parts(piece, scores)) <= {"甲", *choice.pieces[:i]}
    smaller = choose(candidates, {"甲": 0.0}, -1.0, max(1, num // 2))
    if smaller.lexicon_share == choice.lexicon_share:
        assert smaller.pieces == choice.pieces[: len(smaller.pieces)]


@settings(max_examples=150, deadline=None)
@given(st.lists(DOMAIN, min_size=2, max_size=3), DOMAIN)
def test_replaying_the_learned_order_saves_what_learning_said(domains, lexicon):
    weighted = {segment: WEIGHT_UNIT for domain in domains for segment in domain}
    held_out = [list(lexicon), list(domains[0])]
    sizes = list(range(1, 13))
    learned = learn(started(weighted, held_out, 12), sizes=sizes, min_gain=WEIGHT_UNIT)
    keys, lengths = (array[learned.tokens] for array in (learned.tok_hash, learned.tok_len))
    sizes = [size for size in sizes if size <= len(learned.pieces)]
    replayed = replay(started({}, held_out, 12), keys, lengths.astype(np.int64), sizes)
    assert replayed.tolist() == learned.saved[: len(sizes)].tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(DOMAIN, min_size=1, max_size=3))
def test_usage_counts_every_piece_of_the_final_text(domains):
    weighted = {segment: WEIGHT_UNIT for domain in domains for segment in domain}
    learned = learn(started(weighted, (), 30), sizes=[30], min_gain=WEIGHT_UNIT)
    scores = {"甲": 0.0} | {piece: -1.0 - i for i, piece in enumerate(learned.pieces)}
    for domain, used in zip(domains, piece_uses(learned, weighted, domains).T, strict=True):
        expected = Counter[str]()
        for segment, count in domain.items():
            for part in merged(segment, scores):
                expected[part] += count
        assert used.tolist() == [expected[piece] for piece in learned.pieces]


def merged(segment: str, scores: Mapping[str, float]) -> list[str]:
    """Merge as SentencePiece does; here missing characters merge with nothing."""
    parts = list(segment)
    while True:
        pairs = [
            (scores[a + b], -i)
            for i, (a, b) in enumerate(pairwise(parts))
            if a in scores and b in scores and a + b in scores
        ]
        if not pairs:
            return parts
        i = -max(pairs)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def test_a_phrase_of_one_domain_gives_way_to_a_word_of_all():
    words = {"苹果": 12.0, "法律条文": 16.0}
    candidates = Candidates(
        list(words), np.array([[4.0, 4.0, 4.0], [16.0, 0.0, 0.0]]), np.zeros(2), np.array([1 / 3, 1 / 3, 1 / 3])
    )
    base = dict.fromkeys("苹果法律条文", 0.0) | {"法律": -1.0, "条文": -2.0}
    assert choose(candidates, base, -3.0, 1).pieces == ["苹果"]


def test_with_domains_alike_the_sum_decides():
    candidates = Candidates(["苹果", "香蕉"], np.array([[4.0, 4.0], [5.0, 5.0]]), np.zeros(2), np.array([0.5, 0.5]))
    choice = choose(candidates, dict.fromkeys("苹果香蕉", 0.0), -1.0, 2)
    assert choice.pieces == ["香蕉", "苹果"]
    assert choice.gains == pytest.approx([10.0, 8.0])


def test_what_only_the_lexicon_knows_is_kept_where_unseen_domains_use_it():
    pieces = ["苹果", "香蕉", "葡萄"]
    domains = np.array([[9.0, 0.0], [0.0, 9.0], [3.0, 3.0]])
    lexicon = np.array([0.0, 0.0, 9.0])
    base = dict.fromkeys("苹果香蕉葡萄", 0.0)
    assert choose(Candidates(pieces, domains, lexicon, np.array([0.5, 0.5])), base, -1.0, 1).pieces == ["葡萄"]
