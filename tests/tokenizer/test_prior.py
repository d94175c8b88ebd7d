"""The lexicon prior: weighted by what the corpus is large."""

import json

import pytest

from tokenizer.extend import ExtendConfig, extend
from tokenizer.learn import WEIGHT_UNIT
from tokenizer.prior import MAX_SHARE, MAX_WEIGHT, jieba_segments
from tokenizer.script_share import converted, traditional_share


def test_the_dictionary_never_outweighs_a_small_corpus():
    weighted = jieba_segments(300_000)
    mass = sum(len(word) * weight for word, weight in weighted.items()) / WEIGHT_UNIT
    assert 0.5 * MAX_SHARE * 300_000 < mass < 1.1 * MAX_SHARE * 300_000


def test_beside_a_large_corpus_a_count_is_worth_a_tenth():
    weighted = jieba_segments(10**9)
    assert weighted["的"] == round(318825 * MAX_WEIGHT * WEIGHT_UNIT)
    assert all(weighted[word] for word in ("中国", "越来越", "意大利"))


def test_words_are_in_the_scripts_of_the_corpus_in_its_own_proportion():
    simplified, traditional, both = (jieba_segments(10**7, share) for share in (0.0, 1.0, 0.25))
    assert "国家" in simplified
    assert "國家" in traditional
    assert "国家" not in traditional
    assert traditional["國家"] >= simplified["国家"]  # the dictionary has some words in both scripts
    assert both["国家"] == pytest.approx(0.75 * simplified["国家"], abs=1)
    assert both["國家"] == pytest.approx(0.25 * traditional["國家"] + 0.75 * simplified.get("國家", 0), abs=2)
    assert both["中文"] == pytest.approx(simplified["中文"], abs=1)  # written alike


SIMPLIFIED, TRADITIONAL = "这些书的内容很丰富", "這些書的內容很豐富"


@pytest.mark.parametrize(
    ("domains", "factors", "share"),
    [
        ({"a": {SIMPLIFIED: 5}}, {"a": 1.0}, 0.0),
        ({"a": {TRADITIONAL: 5}}, {"a": 1.0}, 1.0),
        ({"a": {SIMPLIFIED: 5, TRADITIONAL: 5}}, {"a": 1.0}, 0.5),
        ({"a": {SIMPLIFIED: 5}, "b": {TRADITIONAL: 5}}, {"a": 1.0, "b": 3.0}, 0.75),
        ({"a": {SIMPLIFIED: 500, TRADITIONAL: 1}}, {"a": 1.0}, 0.0),
        ({"a": {"中文": 5}}, {"a": 1.0}, 0.0),
    ],
)
def test_the_share_of_traditional_text_counts_what_only_one_script_has(domains, factors, share):
    assert traditional_share(domains, factors, str) == pytest.approx(share)


def test_a_traditional_corpus_is_given_traditional_words(tiny_tokenizer_folder, tmp_path):
    lines = ["這些書的內容很豐富，學生們讀得很認真。", "他們說國家的經濟發展與環境保護同樣重要。"]
    texts = [f"{line}第{i}段。" for i in range(300) for line in lines]
    new = {}
    for script, words in (("traditional", texts), ("simplified", converted(texts, "t2s"))):
        path = tmp_path / f"{script}.txt"
        path.write_text("\n".join(words), encoding="utf-8")
        config = ExtendConfig(
            base=tiny_tokenizer_folder / "tokenizer.model", corpus=(path,), num_new_tokens=900, out=tmp_path / script
        )
        new[script] = set(json.loads((extend(config) / "vocab_report.json").read_text(encoding="utf-8"))["new_pieces"])
    # A word of the dictionary that no text here holds.
    assert {word: [script for script in new if word in new[script]] for word in ("問題", "问题")} == {
        "問題": ["traditional"],
        "问题": ["simplified"],
    }
