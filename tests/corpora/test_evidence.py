"""A reason says what was measured and the limit, and is a string wherever it goes."""

import importlib.util
import json
import pickle
import re
from pathlib import Path

import numpy as np
import orjson
import pytest
from datatrove.data import Document as Piece

from corpora.evaluation.build import build_index
from corpora.evaluation.config import Decontamination
from corpora.evaluation.decontaminate import Decontaminate
from corpora.facts import Facts, Reason, Rule, figure, named, quoted
from corpora.filters.classifier import ScoreModel
from corpora.filters.garbled import Garbled
from corpora.filters.language import Language
from corpora.filters.lingua import Lingua
from corpora.filters.page_shape import Menu, NoSentence, RepeatedLines
from corpora.filters.plain import HanRatio, Length
from corpora.filters.quality_limits import (
    ChineseFineWebLimits,
    ChineseGopherQualityLimits,
    ChineseGopherRepetitionLimits,
    ChineseLimits,
    EnglishLimits,
    GopherRepetitionLimits,
    QualityConfig,
)
from corpora.filters.quality_registry import QUALITY_STEPS
from corpora.filters.score import ScoreRule
from corpora.filters.spam import Spam
from corpora.filters.word_list import WordList
from corpora.steps.contamination import DropContaminated
from corpora.steps.filtering import Filter
from corpora.steps.samples import read_samples

PROSE = "早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去。他打开信，读了两遍，又默默地放回抽屉里，什么也没有说。"
MENU = "\n".join(["首页", "新闻", "体育", "财经", "登录", "注册", "联系我们", "版权所有"])
QUESTION = "某工厂去年生产电池三万节，今年的产量比去年增加了五分之一，那么今年一共生产多少节电池"


def quality(name: str, **limits: object) -> Rule:
    """Return a quality rule with these limits in the place of the Chinese ones."""
    return QUALITY_STEPS[name].make(QualityConfig(zh=ChineseLimits(**limits)))  # pyright: ignore[reportArgumentType]


def gopher(**limits: float | None) -> Rule:
    off = dict.fromkeys(("min_doc_words", "min_stop_words", "max_non_alpha_words_ratio", "max_avg_word_length"))
    return quality("gopher-quality", gopher_quality=ChineseGopherQualityLimits(**{**off, **limits}))  # pyright: ignore


def repetition(**limits: object) -> Rule:
    off: dict[str, object] = {"dup_line_frac": None, "top_n_grams": (), "dup_n_grams": ()}
    own = ChineseGopherRepetitionLimits(**{**off, **limits})  # pyright: ignore[reportArgumentType]
    return quality("gopher-repetition", gopher_repetition=own)


def fineweb(**limits: float) -> Rule:
    off = dict.fromkeys(("line_punct_thr", "char_duplicates_ratio", "new_line_ratio"))
    return quality("fineweb-quality", fineweb=ChineseFineWebLimits(**{**off, **limits}))  # pyright: ignore


ENGLISH = {
    name: QUALITY_STEPS[name].make(QualityConfig(en=EnglishLimits(gopher_repetition=GopherRepetitionLimits())))
    for name in ("gopher-repetition", "c4")
}
CASES: list[tuple[Rule, str, str, str, str]] = [
    (Length(min_chars=20), "zh", "短文", "too_short", "length in characters 2, limit 20"),
    (Length(max_chars=1000), "zh", "长" * 1234, "too_long", "length in characters 1,234, limit 1,000"),
    (HanRatio(), "zh", "abcdefgh中文", "low_han_ratio", "0.2 of the visible characters is Han, limit 0.3"),
    (HanRatio(), "en", "abcd中文天地", "high_han_ratio", "0.5 of the visible characters is Han, limit 0.3"),
    (
        Language(),
        "zh",
        "これはとてもいいほんですからよんでください",
        "wrong_language",
        "reads as ja, wanted Chinese; confidence 0.875, limit 0.5",
    ),
    (Garbled(), "zh", "锟斤拷" * 3, "garbled", "3 times 锟斤拷, limit 2"),
    (Garbled(), "zh", "\ue000" + "好" * 9, "garbled", "0.1 of the characters are no text, limit 0.02: U+E000"),
    (
        Garbled(),
        "zh",
        "A" * 50 + "好" * 50,
        "garbled",
        "0.5 of the characters run on without a break, limit 0.3",
    ),
    (RepeatedLines(min_compression=0.05), "zh", "哈" * 9000, "repeated_lines", "compresses to 0.00"),
    (
        Menu(),
        "zh",
        MENU,
        "menu",
        "1 of the lines is short and without punctuation, limit 0.8; 0.625 of these looks like a menu, limit 0.25: "
        "首页, 登录, 注册, 联系我们, 版权所有",
    ),
    (
        NoSentence(),
        "zh",
        "产品型号" * 30,
        "no_sentence",
        "no sentence ends in 120 characters, limit 100; number of commas 0, limit 4",
    ),
    (
        Spam(),
        "zh",
        "代开发票，开票保真，注册送彩金，约炮，百家乐，时时彩，贷款，信用卡套现",
        "spam",
        "score 25, limit 12; for 1,000 characters 250, limit 40; different terms 12, limit 4: 代开发票, 信用卡套现, "
        "开票保真, 注册送彩金, 送彩金",
    ),
    (gopher(min_doc_words=50), "zh", "好天气", "gopher_short_doc", "number of words 2, limit 50"),
    (gopher(max_doc_words=2), "zh", "我 们 好 吗", "gopher_long_doc", "number of words 4, limit 2"),
    (gopher(max_avg_word_length=5), "zh", "abcdefgh abcd", "gopher_above_avg_threshold", "word 6, limit 5"),
    (gopher(), "zh", "#好 #好 天", "gopher_too_many_hashes", "0.4 hash signs for each word, limit 0.1"),
    (gopher(), "zh", "好…… 好 天", "gopher_too_many_ellipsis", " ellipses for each word, limit 0.1"),
    (gopher(), "zh", "- 好\n- 天", "gopher_too_many_bullets", "1 of the lines starts with a bullet, limit 0.9"),
    (gopher(min_stop_words=2), "zh", "好 的 天", "gopher_enough_stop_words", "stop words 1, limit 2: 的"),
    (gopher(max_non_alpha_words_ratio=0.7), "zh", "好 1", "gopher_below_alpha_threshold", "0.5 of the words has a"),
    (
        repetition(dup_line_frac=0.2),
        "zh",
        "好\n好\n天\n地",
        "gopher_dup_line_frac",
        "0.25 of the lines repeats an earlier one, limit 0.2",
    ),
    (
        repetition(top_n_grams=((2, 0.2),)),
        "zh",
        "天气 公园\n" * 20,
        "gopher_top_2_gram",
        "0.8333 of the text is the same run of 2 words, limit 0.2; 20 times “天气 公园”",
    ),
    (
        repetition(dup_n_grams=((5, 0.198),)),
        "zh",
        PROSE * 2,
        "gopher_duplicated_5_n_grams",
        " of the text repeats an earlier run of 5 words, limit 0.198; 2 times “",
    ),
    (fineweb(line_punct_thr=0.106), "zh", "好\n天", "fineweb_line_punct_ratio", "0 of the lines ends like a sentence, "
     "limit 0.106"),
    (fineweb(short_line_thr=0.5), "zh", "好\n天", "fineweb_short_line_ratio", "1 of the lines has at most 30"),
    (fineweb(char_duplicates_ratio=0.1), "zh", "好\n好", "fineweb_char_dup_ratio", "0.5 of the text is in lines that"),
    (fineweb(new_line_ratio=0.178), "zh", "好\n好", "fineweb_list_ratio", "0.5 line ends for each word, limit 0.178"),
    (ENGLISH["gopher-repetition"], "en", "a\n\na\n\na", "gopher_dup_para_frac", "0.6667 of the paragraphs repeats"),
    (ENGLISH["c4"], "en", "It reads lorem ipsum there.", "c4_lorem_ipsum", "holds lorem ipsum, limit 0"),
    (ENGLISH["c4"], "en", "It reads so and so.", "c4_too_few_sentences", "that C4 keeps 1, limit 5"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "lang", "text", "name", "evidence"), CASES, ids=lambda each: str(each)[:20])
def test_a_reason_names_what_was_measured_and_the_limit(rule: Rule, lang: str, text: str, name: str, evidence: str):
    reason = rule(Facts(text, lang))
    assert reason == name
    assert isinstance(reason, Reason)
    assert evidence in reason.evidence
    assert "limit" in reason.evidence
    again = rule(Facts(text, lang))
    assert isinstance(again, Reason)
    assert again.evidence == reason.evidence


def test_the_most_frequent_run_is_quoted_as_the_text_spells_it_and_not_at_length():
    rule = repetition(top_n_grams=((2, 0.01),))
    long = "supercalifragilistic expialidocious-"
    reason = rule(Facts(f"The end. {long} and {long} and {PROSE}", "zh"))
    assert isinstance(reason, Reason)
    assert reason.evidence.endswith("; 2 times “supercalifragilistic expialidocious”")
    assert quoted("字" * 41) == "字" * 40 + "…"
    assert quoted("一\n 二") == "一 二"
    assert named("字" * n for n in range(1, 9)).count(",") == 4


def test_garbled_text_is_told_by_its_characters():
    reason = Garbled()(
        Facts(("今天天气很好，我们一起去公园散步吧，那里有很多花。" * 3).encode().decode("gbk", "ignore"))
    )
    assert isinstance(reason, Reason)
    assert re.search(r"limit 0\.\d+: \S( \S+){1,4}$", reason.evidence)


def test_a_word_list_names_at_most_five_terms(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_text("\n".join("甲乙丙丁戊己庚"), encoding="utf-8")
    reason = WordList(lists=(path,))(Facts("甲乙丙丁戊己庚庚"))
    assert isinstance(reason, Reason)
    assert reason.evidence == "different terms 7, limit 3: 庚, 丁, 丙, 乙, 己"
    dense = WordList(lists=(path,), min_distinct=9, min_per_1000_chars=50)(Facts("甲好"))
    assert isinstance(dense, Reason)
    assert dense.evidence == "terms for 1,000 characters 500, limit 50: 甲"


def test_a_score_names_the_least(monkeypatch: pytest.MonkeyPatch):
    rule = ScoreRule(Path("none"), 0.5)
    monkeypatch.setitem(rule.__dict__, "_model", ScoreModel(np.zeros(1 << 18, np.float32), 1.0, -2.0, {}))
    reason = rule(Facts(PROSE))
    assert isinstance(reason, Reason)
    assert (reason, reason.evidence) == ("low_score", "score 0.1192, limit 0.5")


@pytest.mark.skipif(importlib.util.find_spec("lingua") is None, reason="lingua is not installed")
def test_lingua_names_the_language_it_found():
    french = "Les enfants de la voisine jouent souvent dans le jardin derrière notre maison. Il fait beau aujourd'hui. "
    reason = Lingua()(Facts(french * 20, "en"))
    assert isinstance(reason, Reason)
    assert reason.evidence == "0 of what was looked at reads as en, limit 0.5; most reads as fr"


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    path = tmp_path / "exam.jsonl"
    path.write_text(json.dumps({"question": QUESTION}), encoding="utf-8")
    return path


def test_an_evaluation_text_is_named_with_its_file_and_item(exam: Path):
    reason = Decontaminate(build_index([exam]))(Facts(f"{PROSE}\n{QUESTION}。\n{PROSE}"))
    assert isinstance(reason, Reason)
    assert reason.evidence == f"holds 1 of question of item 1 in exam.jsonl, limit 0.7: “{QUESTION}”"
    few = Decontaminate(build_index([exam], Decontamination(max_ngrams=3, min_overlap=0.9)))(Facts(QUESTION[:16]))
    assert isinstance(few, Reason)
    assert few.evidence == f"holds 3 n-grams of question of item 1 in exam.jsonl, limit 3: “{QUESTION[:16]}”"


def test_steps_put_the_evidence_into_their_samples_and_count_the_plain_name(exam: Path, tmp_path: Path):
    def pieces() -> list[Piece]:
        return [Piece(QUESTION, "one", metadata={"domain": "web", "lang": "zh"})]

    steps = [
        (DropContaminated(Decontaminate(build_index([exam])), tmp_path), "contaminated", "holds 1 of question"),
        (Filter("length", Length(min_chars=99), tmp_path), "too_short", f"characters {len(QUESTION)}, limit 99"),
        (Filter("old", lambda _: "word_alone", tmp_path), "word_alone", None),
    ]
    for step, name, evidence in steps:
        assert list(step.run(pieces())) == []
        assert {f"dropped_{name}", f"lost/{name}/web"} <= set(step.stats.stats)
        assert {type(each) for each in step.stats.stats} == {str}
        [sample] = read_samples(tmp_path / "samples" / step.name)[name]
        assert (sample["kind"], sample["text"]) == (name, QUESTION)
        assert evidence in sample["why"] if evidence else "why" not in sample


def test_a_reason_is_the_string_it_is():
    reason = Reason("spam", "score 19, limit 12")
    assert reason == "spam"
    assert {reason: 1} == {"spam": 1}
    assert f"dropped_{reason}" == "dropped_spam"
    assert json.dumps({reason: [reason]}) == '{"spam": ["spam"]}'
    assert orjson.dumps([reason]) == b'["spam"]'
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(reason, protocol))
        assert (type(again), again, again.evidence) == (Reason, "spam", "score 19, limit 12")
    assert Reason("empty").evidence == ""


def test_figures_have_four_digits():
    assert [figure(n) for n in (0, 1234, 0.198, 0.19804, 2 / 3, 1234.5, -7.123456, float("-inf"))] == [
        "0", "1,234", "0.198", "0.198", "0.6667", "1,234", "-7.123", "-inf"
    ]  # fmt: skip
