"""Scores learned from a good sample: trained the same every time, refused where nothing can be learned."""

import math
import pickle
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from corpora.facts import Facts
from corpora.filters.classifier import ScoreModel, train_score
from corpora.filters.perplexity import PerplexityModel, train_perplexity
from corpora.filters.score import ScoreRule, fit_score, load_score, make_score_rule
from corpora.filters.score_config import ScoreConfig
from corpora.filters.score_sample import sample_texts, split_sample, visible_points
from hanlm.errors import ArtifactError, ConfigError, InputError

SUBJECTS = ["孩子们", "老师", "工程师", "邻居", "医生", "船长", "画家", "木匠"]
PLACES = ["河边", "山上", "学校里", "图书馆", "村口", "大桥旁", "市场上", "院子里"]
GOOD = ["散步，谈起了昨天的雨。", "读完了一本关于历史的书。", "修好了那扇旧窗户。", "默默地等着天亮。"]
BAD = ["点击领取优惠！限时抢购。", "加微信送好礼，先到先得。", "全网最低价，包邮到家！", "注册即送大礼包。"]


def texts(endings: list[str], num: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [
        "".join(rng.choice(SUBJECTS) + "在" + rng.choice(PLACES) + rng.choice(endings) for _ in range(4))
        for _ in range(num)
    ]


GOOD_TEXTS, BAD_TEXTS = texts(GOOD, 120, 1), texts(BAD, 120, 2)


@pytest.fixture(scope="module")
def classifier() -> ScoreModel:
    return train_score(GOOD_TEXTS, BAD_TEXTS)


@pytest.fixture(scope="module")
def perplexity() -> PerplexityModel:
    return train_perplexity(GOOD_TEXTS)


def test_the_classifier_tells_new_good_texts_from_new_bad_ones(classifier: ScoreModel):
    assert min(map(classifier.score, texts(GOOD, 20, 3))) > 0.5 > max(map(classifier.score, texts(BAD, 20, 4)))
    assert classifier.figures["auc"] > 0.99
    assert classifier.score(" \n") == 0.0


def test_the_order_of_the_texts_and_their_white_space_change_nothing(classifier: ScoreModel, tmp_path: Path):
    again = train_score(reversed(GOOD_TEXTS), [*reversed(BAD_TEXTS), BAD_TEXTS[0]])
    classifier.save(tmp_path / "a")
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert classifier.score(GOOD_TEXTS[0]) == classifier.score(GOOD_TEXTS[0].replace("，", "，\n\n "))


def test_texts_that_cannot_be_told_apart_are_refused():
    mixed = texts([*GOOD, *BAD], 400, 5)
    with pytest.raises(InputError, match=r"cannot be told from the others.*AUC"):
        train_score(mixed[:200], mixed[200:])


def test_too_few_texts_are_refused():
    with pytest.raises(InputError, match=r"at least 50 different good documents.*got 49"):
        train_score(GOOD_TEXTS[:49] * 3, BAD_TEXTS)
    with pytest.raises(InputError, match="got 1;"):
        train_perplexity(GOOD_TEXTS[:1] * 100)


def test_a_sample_is_even_and_hangs_on_content_alone():
    numbers = [str(n) for n in range(1000)]
    sample = sample_texts(numbers, 200, 0)
    assert sample == sample_texts([*reversed(numbers), "", "\n", *numbers], 200, 0)
    assert len(set(sample)) == 200
    assert 60 < sum(int(text) < 500 for text in sample) < 140
    assert sample != sample_texts(numbers, 200, 1)
    learn, check = split_sample(numbers, "good", 0)
    assert len(learn) == 800
    assert set(learn).isdisjoint(check)
    assert set(learn) | set(check) == set(numbers)


def test_the_character_model_gives_every_context_one_unit_of_probability(perplexity: PerplexityModel):
    unknown = 0x10FFFF
    for context in ("", "孩", "孩子", "子孩", "龘", "孩子们在河边", "\U00020000龘"):
        points = visible_points(context)
        bits = perplexity.bits(points)
        chars = np.array([*perplexity.alphabet, unknown], np.uint32)
        total = sum(2 ** (bits - perplexity.bits(np.append(points, char))) for char in chars)
        assert total == pytest.approx(1, abs=1e-9), context


def test_the_character_model_equals_the_textbook(perplexity: PerplexityModel):
    """Interpolated Kneser-Ney by the definition, with dictionaries, on the texts that the model learned from."""
    learn, _ = split_sample(GOOD_TEXTS, "good", 0)
    once = {char for char, count in Counter("".join(learn)).items() if count == 1}
    known = set("".join(learn)) - once

    def code(text: str) -> list[str]:
        return ["^", "^", *(char if char in known else "?" for char in text)]

    coded = [code(text) for text in learn]
    triples = Counter(tuple(text[i - 2 : i + 1]) for text in coded for i in range(2, len(text)))
    pairs = Counter(triple[1:] for triple in triples)
    singles = Counter(pair[1:] for pair in pairs)

    def share(counts: Counter[tuple[str, ...]], ngram: tuple[str, ...], lower: float) -> float:
        by_times = Counter(counts.values())
        discount = by_times[1] / (by_times[1] + 2 * by_times[2]) if by_times[1] else 0.5
        following = {other: count for other, count in counts.items() if other[:-1] == ngram[:-1]}
        if not (total := sum(following.values())):
            return lower
        return max(counts[ngram] - discount, 0) / total + discount * len(following) / total * lower

    memo: dict[tuple[str, ...], float] = defaultdict(float)
    for text in [*texts(GOOD, 2, 6), texts(BAD, 1, 7)[0], "龘龘孩子"]:
        bits = 0.0
        coded_text = code(text)
        for i in range(2, len(coded_text)):
            ngram = tuple(coded_text[i - 2 : i + 1])
            if ngram not in memo:
                lowest = share(singles, ngram[2:], 1 / (len(known) + 1))
                memo[ngram] = share(triples, ngram, share(pairs, ngram[1:], lowest))
            bits -= math.log2(memo[ngram])
        assert -perplexity.score(text) == pytest.approx(bits / len(text), rel=1e-9)


def test_the_character_model_prefers_what_it_learned(perplexity: PerplexityModel):
    shuffled = "".join(random.Random(0).sample(GOOD_TEXTS[0], len(GOOD_TEXTS[0])))
    assert perplexity.score(texts(GOOD, 1, 8)[0]) > perplexity.score(texts(BAD, 1, 9)[0]) > perplexity.score(shuffled)
    assert perplexity.score("\n") == -math.inf


@pytest.mark.parametrize("kind", ["classifier", "perplexity"])
def test_a_rule_reads_its_model_where_it_works(kind: str, request: pytest.FixtureRequest, tmp_path: Path):
    model: ScoreModel | PerplexityModel = request.getfixturevalue(kind)
    model.save(tmp_path / "score.safetensors")
    least = sorted(model.held_out_scores)[0]
    rule = pickle.loads(pickle.dumps(ScoreRule(tmp_path / "score.safetensors", least)))
    assert load_score(tmp_path / "score.safetensors").score(BAD_TEXTS[0]) == model.score(BAD_TEXTS[0])
    assert rule(Facts(GOOD_TEXTS[0], "zh")) is None
    for lang in ("zh-Hant", "yue", ""):
        assert rule(Facts(BAD_TEXTS[0], lang)) == "low_score"
    assert rule(Facts("Plain English.", "en")) is None
    assert pickle.loads(pickle.dumps(rule))(Facts(BAD_TEXTS[0], "zh")) == "low_score"


@pytest.mark.fault(6)
def test_a_damaged_model_is_refused_by_name(classifier: ScoreModel, tmp_path: Path):
    path = tmp_path / "score.safetensors"
    with pytest.raises(ArtifactError, match=r"score\.safetensors"):
        load_score(path)
    classifier.save(path)
    with pytest.raises(ArtifactError, match="expected 'perplexity'"):
        PerplexityModel.load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match=r"score\.safetensors"):
        load_score(path)


def test_fitting_reads_the_samples_and_chooses_the_least_score(tmp_path: Path):
    good, bad = tmp_path / "good.txt", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    for folder, rows in ((good, GOOD_TEXTS), (bad, BAD_TEXTS)):
        for number, text in enumerate(rows):
            (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    corpus, more = ([*texts(GOOD, 150, seed), *texts(BAD, 350, seed)] for seed in (10, 11))
    fitted = fit_score(ScoreConfig(good=(good,), bad=(bad,), keep_fraction=0.3), corpus)
    assert sum(fitted.model.score(text) >= fitted.min_score for text in more) in range(110, 190)
    assert fitted.figures()["num_good"] == len(set(GOOD_TEXTS))
    against_corpus = fit_score(ScoreConfig(good=(good,), keep_good_fraction=0.9), corpus)
    kept = [against_corpus.model.score(text) >= against_corpus.min_score for text in more]
    assert sum(kept[:150]) > 110
    assert not any(kept[150:])
    rule = make_score_rule(ScoreConfig(good=(good,), keep_good_fraction=0.9), corpus, tmp_path / "made" / "score")
    assert [rule(Facts(text, "zh")) is None for text in more] == kept
    assert rule.figures == against_corpus.figures()
    plain = fit_score(ScoreConfig(good=(good,), method="perplexity", min_score=-9), [])
    assert plain.min_score == -9
    with pytest.raises(InputError, match="corpus documents"):
        fit_score(ScoreConfig(good=(good,), bad=(bad,), keep_fraction=0.3), [])


def test_settings_that_contradict_each_other_are_refused():
    good = (Path("good"),)
    assert ScoreConfig() == ScoreConfig()
    for settings, words in [
        ({"bad": good}, "learns from good documents"),
        ({"good": good}, "expected one of min_score"),
        ({"good": good, "min_score": 0.5, "keep_fraction": 0.5}, "got 2"),
        ({"good": good, "keep_fraction": 1.5}, "keep_fraction"),
        ({"good": good, "min_score": -7}, "from 0 to 1"),
        ({"good": good, "method": "perplexity", "min_score": 0.5}, "from -100 to 0"),
        ({"good": good, "bad": good, "method": "perplexity", "min_score": -7}, "leave `bad` out"),
    ]:
        with pytest.raises(ConfigError, match=words):
            ScoreConfig(**settings)  # pyright: ignore[reportArgumentType]
