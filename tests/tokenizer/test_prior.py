"""The lexicon prior: weighted by what the corpus is large."""

from tokenizer.learn import WEIGHT_UNIT
from tokenizer.prior import MAX_SHARE, MAX_WEIGHT, jieba_segments


def test_the_dictionary_never_outweighs_a_small_corpus():
    weighted = jieba_segments(300_000)
    mass = sum(len(word) * weight for word, weight in weighted.items()) / WEIGHT_UNIT
    assert 0.5 * MAX_SHARE * 300_000 < mass < 1.1 * MAX_SHARE * 300_000


def test_beside_a_large_corpus_a_count_is_worth_a_tenth():
    weighted = jieba_segments(10**9)
    assert weighted["的"] == round(318825 * MAX_WEIGHT * WEIGHT_UNIT)
    assert all(weighted[word] for word in ("中国", "越来越", "意大利"))
