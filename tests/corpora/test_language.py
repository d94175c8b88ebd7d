"""Languages and scripts told apart, and the rules made of it."""

import importlib.util
import pickle
import random
from pathlib import Path

import opencc
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corpora.facts import Facts
from corpora.filters.language import CHINESE_TAGS, TAGS, Language, identify
from corpora.filters.lingua import Lingua
from corpora.filters.samples import spread_samples
from corpora.filters.script_table import CANTONESE
from hanlm.errors import ConfigError, InputError

SAMPLES: dict[str, list[str]] = yaml.safe_load(
    (Path(__file__).parent.parent / "support/language_samples.yaml").read_text(encoding="utf-8")
)
SAMPLES["zh-Hant"] = [opencc.OpenCC("s2twp").convert(text) for text in SAMPLES["zh-Hans"]]
SAMPLES["yue-Hans"] = [opencc.OpenCC("hk2s").convert(text) for text in SAMPLES["yue-Hant"]]


@pytest.mark.parametrize("tag", sorted(SAMPLES))
def test_every_sentence_is_identified(tag: str):
    assert [identify(text).tag for text in SAMPLES[tag]] == [tag] * len(SAMPLES[tag])


@pytest.mark.parametrize("tag", sorted(SAMPLES))
def test_twenty_characters_tell_the_language_nearly_always(tag: str):
    joined = "".join(SAMPLES[tag])
    starts = random.Random(0).sample(range(len(joined) - 20), 200)
    found = [identify(joined[start : start + 20]).tag for start in starts]
    same_language = [tag.replace("yue", "zh") == other.replace("yue", "zh") for other in found]
    assert sum(same_language) >= 196


@given(st.text())
def test_any_text_gets_a_known_tag_and_a_confidence_of_at_most_one(text: str):
    found = identify(text)
    assert found.tag in TAGS
    assert 0.0 <= found.confidence <= 1.0


def test_a_foreign_head_does_not_decide_on_a_long_document():
    chinese = "\n".join(SAMPLES["zh-Hans"]) * 5
    assert identify("Copyright notice and licence of this very page. " * 3 + chinese).tag == "zh-Hans"
    assert identify("これは日本語の見出しです。" + chinese).tag == "zh-Hans"


def test_the_answer_on_a_long_text_is_that_on_its_repetition():
    text = SAMPLES["zh-Hant"][0]
    assert identify(text * 40_000).tag == "zh-Hant"


def test_japanese_without_kana_is_told_by_its_own_forms_and_its_mixture():
    assert identify("東京都渋谷区役所前駅").lang == "ja"
    assert identify("経済産業省関東経済産業局総務企画部").lang == "ja"
    assert identify("東京都中央区日本橋室町会議場").lang == "ja"


def test_chinese_about_japan_stays_chinese():
    text = "《龙猫》（日语：となりのトトロ）是日本导演宫崎骏的动画电影，讲述了两个女孩在乡下遇到精灵的故事，" * 3
    assert identify(text).tag == "zh-Hans"
    assert identify("東京是日本的首都，也是世界上人口最多的都會區之一，說起它的歷史，要從江戶開始。").tag == "zh-Hant"


def test_mixed_scripts_are_called_so():
    text = "".join(a + b for a, b in zip(SAMPLES["zh-Hans"][:6], SAMPLES["zh-Hant"][6:12], strict=True))
    found = identify(text)
    assert (found.lang, found.script) == ("zh", "Hani")


def test_mandarin_that_says_hm_or_quotes_one_word_is_not_cantonese():
    assert identify("“唔，好吧。”他说。“唔唔，我知道了。”").lang == "zh"
    assert identify("广东人常说唔该，意思是谢谢或者劳驾，外地人刚到广州的时候往往听不明白。").lang == "zh"


def test_what_both_scripts_spell_alike_has_no_confidence():
    found = identify("三人行必有我")
    assert (found.tag, found.confidence) == ("zh-Hans", 0.0)


@pytest.mark.parametrize("text", ["", "123 + 456 = 579", "。，！", "\ud800", "Это русский текст", "นี่คือภาษาไทย"])
def test_what_is_none_of_these_is_other(text: str):
    assert identify(text).tag == "other"


def test_other_latin_languages_are_not_english():
    assert (
        identify("Les enfants de la voisine jouent souvent dans le jardin derrière notre vieille maison.").tag
        == "other"
    )
    assert identify("Die Kinder der Nachbarin spielen oft im Garten hinter unserem alten Haus am Fluss.").tag == "other"


def test_chinese_full_of_code_is_chinese():
    text = "使用下面的命令安装依赖包，然后运行测试：\npip install -r requirements.txt && pytest -q tests/unit"
    assert identify(text).lang == "zh"


def test_cantonese_characters_are_named_once():
    assert len(set(CANTONESE)) == len(CANTONESE)


def facts(tag: str, lang: str = "zh") -> Facts:
    return Facts("\n".join(SAMPLES[tag]), lang)


def test_the_rule_drops_what_is_declared_chinese_and_is_not():
    rule = Language()
    assert {tag: rule(facts(tag)) for tag in SAMPLES} == {
        tag: None if tag in CHINESE_TAGS or tag == "en" else "wrong_language" for tag in SAMPLES
    }
    assert rule(facts("ja", "ja")) is None


def test_the_rule_keeps_only_the_scripts_that_are_named():
    rule = Language(languages=("zh-Hans", "zh-Hant"))
    assert rule(facts("yue-Hant")) == "wrong_language"
    assert rule(facts("zh-Hant")) is None
    assert Language(languages=("zh-Hans",))(facts("zh-Hant")) == "wrong_language"
    assert Language(languages=("zh-Hant",))(Facts("三人行必有我")) is None  # too little to say


def test_an_unknown_language_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigError, match=r"zh-Hans.*got klingon"):
        Language(languages=("klingon",))
    with pytest.raises(ConfigError):
        Language(languages=())


def test_samples_reach_from_the_start_to_the_end_of_a_text():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 5000)))
    samples = list(spread_samples(text, 800))
    assert len(samples) == 8
    assert sum(map(len, samples)) == 800
    assert text.startswith(samples[0])
    assert text.endswith(samples[-1])
    assert list(spread_samples("短", 800)) == ["短"]


needs_lingua = pytest.mark.skipif(importlib.util.find_spec("lingua") is None, reason="lingua is not installed")


@needs_lingua
def test_lingua_drops_a_document_in_another_language_than_declared():
    rule = Lingua()
    french = "Les enfants de la voisine jouent souvent dans le jardin derrière notre maison. Il fait beau aujourd'hui. "
    assert rule(Facts(french * 20, "en")) == "lingua_language"
    assert rule(Facts(" ".join(SAMPLES["en"]), "en")) is None
    assert rule(Facts(french * 20, "fr")) is None
    assert rule(Facts(french * 20, "zh")) is None  # lingua is asked only about the languages it was given
    assert rule(Facts(french + " ".join(SAMPLES["en"]) * 3, "en")) is None  # a quotation at the head


@needs_lingua
def test_lingua_refuses_a_language_that_it_does_not_know():
    with pytest.raises(ConfigError, match="'qq'"):
        Lingua(languages=("en", "qq"))(Facts("Some words that are English", "en"))


def test_a_missing_lingua_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch):
    from corpora.filters import lingua

    monkeypatch.setattr(lingua, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'hanlm\[lingua\]'"):
        Lingua(languages=("en", "fr", "it"))(Facts("Some words that are English", "en"))


def test_rules_travel_to_worker_processes():
    for rule in (Language(), Lingua()):
        assert pickle.loads(pickle.dumps(rule)) == rule
