"""The Chinese filters on pages of our own: what each must drop, and what must survive all of them."""

import pickle
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corpora.facts import Facts
from corpora.filters.chinese_registry import CHINESE_RULES
from corpora.filters.garbled import Garbled
from corpora.filters.page_shape import Menu, NoSentence, RepeatedLines, compression
from corpora.filters.plain import HanRatio, Length
from corpora.filters.spam import Spam
from corpora.filters.term_index import TermIndex
from corpora.filters.word_list import WordList, read_terms
from hanlm.errors import ConfigError, InputError

PAGES: dict[str, dict[str, str]] = yaml.safe_load(
    (Path(__file__).parent.parent / "support/page_samples.yaml").read_text(encoding="utf-8")
)
GOOD, SPAM, MENUS = PAGES["good"], PAGES["spam"], PAGES["menus"]
WEB = [name for name, (_, _, presets) in CHINESE_RULES.items() if "web" in presets]

SENTENCE = "今天天气很好，我们一起去公园散步吧，那里有很多花。"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_pages_survive_every_filter_of_the_web_preset(name: str):
    facts = Facts(GOOD[name])
    assert {rule: CHINESE_RULES[rule][0]()(facts) for rule in WEB} == dict.fromkeys(WEB)


@pytest.mark.parametrize("name", sorted(SPAM))
def test_spam_is_dropped(name: str):
    assert Spam()(Facts(SPAM[name])) == "spam"


def test_spam_between_much_else_is_kept():
    assert Spam()(Facts(SPAM["gambling"] + SENTENCE * 100)) is None


def test_a_file_of_spam_terms_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "terms.yaml").write_text("- 这\n- 不是表\n", encoding="utf-8")
    with pytest.raises(InputError, match="kinds of terms"):
        Spam(terms=tmp_path / "terms.yaml")(Facts(SENTENCE))


GARBLED = {
    "锟斤拷": "锟斤拷锟斤拷锟斤拷你好锟斤拷",
    "memory": "烫烫烫烫烫烫屯屯屯屯屯屯烫烫烫烫",
    "UTF-8 as GBK": SENTENCE.encode().decode("gbk", "replace"),
    "UTF-8 as GBK, odd pairs dropped": (SENTENCE * 3).encode().decode("gbk", "ignore"),
    "UTF-8 as Latin-1": SENTENCE.encode().decode("latin1"),
    "UTF-8 as Windows-1252": SENTENCE.encode().decode("cp1252", "replace"),
    "GBK as Big5": (SENTENCE * 3).encode("gbk").decode("big5", "ignore"),
    "GBK as UTF-8": SENTENCE.encode("gbk").decode("utf-8", "replace"),
    "private use": "这是\ue000一\ue001个\ue002坏\ue003字体的文件，里面的字都认不出来。",
    "Base64": "图片：" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU2Nzg5" * 10,
}


@pytest.mark.parametrize("name", sorted(GARBLED))
def test_garbled_text_is_dropped(name: str):
    assert Garbled()(Facts(GARBLED[name])) == "garbled"


def test_european_accents_and_names_in_rare_characters_are_not_garbled():
    assert Garbled()(Facts("La fête à l'été où naïveté et déjà vu règnent, café crème brûlée garçon.", "fr")) is None
    assert Garbled()(Facts("龑龘朱镕基喆堃")) is None


def test_cantonese_is_not_garbled_for_its_own_characters():
    spoken = "我哋今日去咗茶樓飲茶，叫咗蝦餃同埋叉燒包。阿媽話佢唔鍾意食咁多肥嘅嘢，啲風好大，細路仔喺沙灘度玩。"
    assert Garbled()(Facts(spoken, "yue")) is None


@pytest.mark.parametrize("text", ["好好学习天天向上" * 60, SENTENCE * 30, "顶" * 300, "哈哈哈哈哈哈哈，" * 50])
def test_the_same_over_and_over_is_dropped(text: str):
    assert RepeatedLines()(Facts(text)) == "repeated_lines"


def test_a_long_document_is_judged_block_by_block():
    varied = "".join(chr(0x4E00 + (number * 7919) % 5000) for number in range(60_000))
    assert RepeatedLines()(Facts(varied)) is None
    assert compression("短") is None


@pytest.mark.parametrize("name", sorted(MENUS))
def test_menus_are_dropped(name: str):
    assert Menu()(Facts(MENUS[name])) == "menu"


def test_lists_without_signs_of_a_menu_are_kept_by_it():
    for text in (
        "\n".join(f"第{n}章 函数与极限" for n in range(1, 15)),
        "\n".join(f"{y}年 出版一部小说" for y in range(1991, 2005)),
    ):
        assert Menu()(Facts(text)) is None


def test_a_page_without_a_sentence_is_dropped():
    rule = NoSentence()
    names = "\n".join(f"产品型号{number}的技术参数与报价表" for number in range(20))
    assert rule(Facts(names)) == "no_sentence"
    assert rule(Facts(names + "\n以上就是全部内容。")) is None
    assert rule(Facts(names + "\n以上就是全部内容.谢谢")) is None  # a Latin full stop between Han ends one too
    assert rule(Facts("短")) is None


def test_prose_that_spares_the_full_stops_is_kept():
    assert NoSentence()(Facts("我昨天去医院了，医生说没事，让我多休息，多喝水，过几天再去看看" * 5)) is None


def write_list(folder: Path, *terms: str) -> Path:
    path = folder / "list.txt"
    path.write_text("# remarks are no terms\n" + "\n".join(terms) + "\n\n", encoding="utf-8")
    return path


def test_a_word_list_drops_at_so_many_distinct_terms(tmp_path: Path):
    rule = WordList(lists=(write_list(tmp_path, "苹果", "香蕉", "橘子", "Ass"),), min_distinct=2)
    assert rule(Facts("我喜欢苹果和香蕉。")) == "word_list"
    assert rule(Facts("我喜欢苹果，苹果，苹果。")) is None
    assert rule(Facts("我喜歡蘋果和香蕉。")) == "word_list"  # script does not count
    assert rule(Facts("苹果班级 class")) is None  # a Latin term is a word of its own
    assert rule(Facts("苹果 ＡＳＳ")) == "word_list"  # case and width do not count
    assert rule(Facts("这里什么也没有。")) is None


def test_a_word_list_drops_at_a_density(tmp_path: Path):
    rule = WordList(lists=(write_list(tmp_path, "苹果"),), min_distinct=5, min_per_1000_chars=50.0)
    assert rule(Facts("苹果" * 10)) == "word_list"
    assert rule(Facts("苹果" + SENTENCE * 10)) is None


def test_a_missing_or_empty_word_list_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        WordList(lists=(tmp_path / "none.txt",))(Facts("字"))
    with pytest.raises(InputError, match="got none"):
        read_terms([write_list(tmp_path)])


@given(st.lists(st.text("甲乙丙丁", min_size=1, max_size=15), max_size=8), st.text("甲乙丙丁", max_size=60))
def test_the_index_counts_as_a_search_at_every_place_does(terms: list[str], text: str):
    index = TermIndex(terms)
    expected = {
        number: count
        for number, term in enumerate(index.terms)
        if (count := sum(text.startswith(term, place) for place in range(len(text))))
    }
    assert index.counts(text) == expected


def test_terms_that_fold_to_the_same_are_all_found():
    index = TermIndex(["台湾", "臺灣", "ABC", "abc"])
    assert index.counts("台灣 Abc") == {0: 1, 1: 1, 2: 1, 3: 1}


def test_the_plain_rules_keep_their_reasons():
    assert Length()(Facts(" \n")) == "empty"
    assert Length(min_chars=5)(Facts("四个字了")) == "too_short"
    assert Length(max_chars=3)(Facts("四个字了")) == "too_long"
    assert HanRatio()(Facts("mostly Latin 字")) == "low_han_ratio"
    assert HanRatio()(Facts("汉字汉字 a", "en")) == "high_han_ratio"
    assert HanRatio()(Facts("汉字汉字 a", "zh-Hant")) is None


@pytest.mark.parametrize("name", sorted(CHINESE_RULES))
def test_every_rule_is_described_and_travels_to_workers(name: str):
    factory, description, presets = CHINESE_RULES[name]
    assert description
    assert set(presets) <= {"plain", "web"}
    rule = factory()
    assert pickle.loads(pickle.dumps(rule)) == rule


@given(st.text(st.characters()))
def test_no_text_breaks_a_rule(text: str):
    facts = Facts(text)
    for name in WEB:
        reason = CHINESE_RULES[name][0]()(facts)
        assert reason is None or reason.islower()


@pytest.mark.parametrize(
    ("factory", "limits"),
    [
        (Spam, {"min_score": 0}),
        (WordList, {"min_distinct": 0}),
        (Garbled, {"max_bad_share": -1}),
        (RepeatedLines, {"min_compression": 2}),
        (Menu, {"min_link_share": 0}),
        (NoSentence, {"min_chars": -1}),
        (Length, {"min_chars": 5, "max_chars": 4}),
        (HanRatio, {"min_han_ratio": 1.5}),
    ],
)
def test_impossible_limits_are_refused(factory: type, limits: dict[str, float]):
    with pytest.raises(ConfigError):
        factory(**limits)
