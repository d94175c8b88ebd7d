"""The quality rules drop what datatrove's filters drop, for the same reasons."""

import pickle
from collections import Counter
from dataclasses import fields

import pytest
from datatrove_filters import make_filter, reason_of, share_words
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.facts import Facts
from corpora.filters.c4 import count_sentences, kept_lines, remove_c4_lines
from corpora.filters.quality_limits import (
    C4Limits,
    ChineseFineWebLimits,
    ChineseGopherQualityLimits,
    ChineseGopherRepetitionLimits,
    ChineseLimits,
    EnglishLimits,
    GopherQualityLimits,
    QualityConfig,
)
from corpora.filters.quality_registry import QUALITY_STEPS
from hanlm.errors import ConfigError

PROSE = "早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去。他打开信，读了两遍，又默默地放回抽屉里，什么也没有说。"
STORY = "".join(
    f"第{n}天，{who}在{where}{what}，{end}"
    for n, (who, where, what, end) in enumerate(
        (who, where, what, end)
        for who, end in [("老王", "天就黑了。"), ("她的姐姐", "大家都很高兴。"), ("两位工程师", "谁也没有想到！")]
        for where in ["山脚下的村子里", "图书馆", "新修的大桥旁边"]
        for what in ["等了一个下午", "遇见了多年没有消息的同学", "把昨天的记录又抄写了一遍"]
    )
)
ENGLISH = "\n".join(
    f"The {noun} of the {place} that we have seen was to be {verb} with great care, and nobody asked why."
    for noun, place, verb in zip(
        ["river", "bridge", "letter", "garden", "engine", "winter", "school"],
        ["north", "old town", "valley", "harbour", "island", "forest", "city"],
        ["mended", "opened", "drawn", "copied", "painted", "kept", "built"],
        strict=True,
    )
)
CODE = "\n".join(f"def step_{n}(x):\n    return {{'x': x + {n}}}  # javascript" for n in range(30))
TEXTS = {
    "empty": "",
    "blank": " \n\n\t ",
    "one word": "你好",
    "short": PROSE,
    "story": STORY,
    "story in lines": STORY.replace("。", "。\n").replace("！", "！\n\n"),
    "repeated lines": (PROSE + "\n") * 8,
    "repeated paragraphs": (STORY + "\n\n") * 3,
    "repeated words": "便宜好用" * 80,
    "repeated end": STORY + PROSE * 4,
    "menu": "\n".join(["首页", "新闻", "体育", "财经", "登录", "注册", "联系我们"] * 6),
    "long list": "\n".join(f"- 第{n}项：{chr(0x4E00 + 37 * n)}{chr(0x5000 + 53 * n)}的说明" for n in range(60)),
    "bullets": "\n".join(f"• 他在{n}月读了一本关于{chr(0x4E00 + 71 * n)}的书" for n in range(40)),
    "ellipses": "\n".join(
        f"后来他和朋友们又在{chr(0x4E00 + 91 * n)}州住了很久，没有人知道是为什么…" for n in range(40)
    ),
    "verses": "\n".join(f"{chr(0x4E00 + 37 * n)}{chr(0x5000 + 53 * n)}。" for n in range(60)),
    "english verses": "\n".join(f"And to the {chr(97 + n)}." for n in range(26)),
    "dots": "他说..." * 70,
    "hashes": "#话题# 是 的 " * 60,
    "digits": " ".join(f"{n}.{n * 7 % 13} 的 是" for n in range(90)),
    "long words": " ".join("donaudampfschifffahrtsgesellschaft" + chr(97 + n % 26) for n in range(80)),
    "no stop words": "".join(chr(0x4E00 + 11 * n) for n in range(400)),
    "english": ENGLISH,
    "english twice": ENGLISH + "\n" + ENGLISH,
    "english, no end marks": ENGLISH.replace(".", ""),
    "lorem": STORY + "\nLorem [1]ipsum dolor sit amet.",
    "lorem in english": ENGLISH + "\nThen came Lorem ipsum dolor sit amet.",
    "code": CODE,
    "braces in prose": ENGLISH + "\nIt reads {this} and nothing more.",
    "odd line ends": STORY.replace("。", "。\u2028").replace("，", "，\r\n") + "\x1c\x85",
    "long": STORY * 3 + "".join(chr(0x4E00 + (n * n) % 20000) for n in range(3000)),
}
LIMITS = {"zh": ChineseLimits(), "en": EnglishLimits()}


@pytest.fixture(autouse=True)
def _shared_words(monkeypatch: pytest.MonkeyPatch):
    share_words(monkeypatch)


def verdicts(name: str, lang: str, text: str) -> tuple[str | None, str | None]:
    """Return our reason and datatrove's."""
    ours = QUALITY_STEPS[name].make(QualityConfig())(Facts(text, lang))
    return ours, reason_of(name, make_filter(name, LIMITS[lang]), text)


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("name", QUALITY_STEPS)
def test_a_rule_agrees_with_datatrove_on_every_kind_of_text(name: str, lang: str):
    for kind, text in TEXTS.items():
        ours, theirs = verdicts(name, lang, text)
        assert ours == theirs, kind


PIECES = st.sampled_from(
    ["的", "是在", "好天气", "中国", "，", "。", "！", "\n", "\n\n", " ", "…", "...", "#", "- ", "• ", "the ", "and ",
     "of ", "state-of-the-art", "3.14", "{", "lorem ipsum", "javascript", "cookie policy", "𠀀", "é", "[1]", "\t", "”"]
)  # fmt: skip
MADE_TEXTS = st.builds(
    lambda parts, repeats: "".join("".join(part) * times for part, times in zip(parts, repeats, strict=False)),
    st.lists(st.lists(PIECES, min_size=1, max_size=60), max_size=8),
    st.lists(st.integers(1, 12), min_size=8, max_size=8),
)


@pytest.mark.parametrize("name", QUALITY_STEPS)
@settings(max_examples=150, deadline=None)
@given(text=MADE_TEXTS | st.text(max_size=400), lang=st.sampled_from(["zh", "en"]))
def test_a_rule_agrees_with_datatrove_on_any_text(name: str, text: str, lang: str):
    with pytest.MonkeyPatch.context() as patch:
        share_words(patch)
        ours, theirs = verdicts(name, lang, text)
    assert ours == theirs


def test_the_texts_meet_nearly_every_reason():
    """Guards the comparison: two rules that never drop anything would agree too."""
    reasons = Counter(
        verdicts(name, lang, text)[0] for name in QUALITY_STEPS for lang in LIMITS for text in TEXTS.values()
    )
    missing = {
        "gopher_short_doc", "gopher_below_avg_threshold", "gopher_above_avg_threshold", "gopher_too_many_hashes",
        "gopher_too_many_ellipsis", "gopher_too_many_bullets", "gopher_too_many_end_ellipsis",
        "gopher_below_alpha_threshold", "gopher_enough_stop_words", "gopher_empty", "gopher_dup_line_frac",
        "gopher_dup_para_frac", "gopher_top_2_gram", "gopher_duplicated_5_n_grams", "fineweb_empty",
        "fineweb_line_punct_ratio", "fineweb_short_line_ratio", "fineweb_char_dup_ratio", "fineweb_list_ratio",
        "c4_lorem_ipsum", "c4_curly_bracket", "c4_too_few_sentences",
    } - set(reasons)  # fmt: skip
    assert not missing
    assert reasons[None] > 40


def test_a_longest_text_is_long_for_both():
    config = QualityConfig(zh=ChineseLimits(gopher_quality=ChineseGopherQualityLimits(max_doc_words=60)))
    ours = QUALITY_STEPS["gopher-quality"].make(config)(Facts(STORY, "zh"))
    assert ours == reason_of("gopher-quality", make_filter("gopher-quality", config.zh), STORY) == "gopher_long_doc"


def test_every_limit_can_be_turned_off():
    quality = dict.fromkeys(f.name for f in fields(GopherQualityLimits) if f.name != "stop_words")
    lines = dict.fromkeys(["line_punct_thr", "short_line_thr", "char_duplicates_ratio", "new_line_ratio"])
    limits = ChineseLimits(
        gopher_quality=ChineseGopherQualityLimits(**quality),
        gopher_repetition=ChineseGopherRepetitionLimits(dup_line_frac=None, top_n_grams=(), dup_n_grams=()),
        fineweb=ChineseFineWebLimits(**lines),
    )
    rules = [QUALITY_STEPS[name].make(QualityConfig(zh=limits)) for name in QUALITY_STEPS]
    for kind in ("story", "short", "menu", "hashes", "repeated words", "digits"):
        assert [rule(Facts(TEXTS[kind], "zh")) for rule in rules] == [None] * 4


def test_the_language_chooses_the_limits_and_others_pass():
    rule = QUALITY_STEPS["gopher-quality"].make(QualityConfig())
    assert rule(Facts(STORY, "zh-Hant")) is None
    assert rule(Facts(STORY, "")) is None
    assert rule(Facts(ENGLISH, "en")) is None
    assert rule(Facts(STORY, "en")) is not None
    assert rule(Facts("print('hello')", "python")) is None
    assert rule(Facts("", "ja")) is None


def test_rules_travel_to_worker_processes():
    for name in QUALITY_STEPS:
        rule = QUALITY_STEPS[name].make(QualityConfig())
        rule(Facts(STORY, "zh"))
        assert rule.name == name
        assert pickle.loads(pickle.dumps(rule))(Facts(TEXTS["code"], "en")) == rule(Facts(TEXTS["code"], "en"))


def test_limits_that_no_text_could_meet_are_refused():
    with pytest.raises(ConfigError, match="min_doc_words"):
        ChineseGopherQualityLimits(min_doc_words=-1)
    with pytest.raises(ConfigError, match="top_n_grams"):
        ChineseGopherRepetitionLimits(top_n_grams=((0, 0.2),))


def test_c4_lines_are_left_out_as_datatrove_leaves_them_out():
    text = "A line that ends well enough.\nand one that does not\nTurn on javascript to read this page.[1]\nToo short."
    limits = C4Limits(min_num_sentences=None)
    assert kept_lines(text, limits) == "A line that ends well enough."
    assert kept_lines(PROSE, ChineseLimits().c4) == PROSE
    assert remove_c4_lines(PROSE + "\n请打开JavaScript再浏览本页。") == PROSE
    assert remove_c4_lines(text) == text, "too few sentences: the rule drops the document, the cleaner leaves it whole"


def test_sentences_are_counted_by_their_closing_marks():
    assert count_sentences('One. "Two!" Three point 3.14 is one. four') == 4
    assert count_sentences("一。“二！”三？？四\n五") == 5
    assert count_sentences(" \n") == 0
