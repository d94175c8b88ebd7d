"""The cleaners that are off unless asked for: punctuation, scripts, emoji, addresses."""

import pytest

from corpora.cleaning.emoji import remove_emoji
from corpora.cleaning.punctuation import mend_punctuation
from corpora.cleaning.script import to_simplified, to_traditional
from corpora.cleaning.urls import remove_urls


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("你好,世界", "你好，世界"),
        ("真的吗?是的!好;那么:走", "真的吗？是的！好；那么：走"),
        ("结束了.\n下一段", "结束了。\n下一段"),
        ("北京(中国的首都)很大", "北京（中国的首都）很大"),
        ("他走了。。。。。。", "他走了……"),
        ("太好了!!!!!!!!真的", "太好了!!!真的"),
        ("好！！！！！", "好！！！"),
        ("一，，，二", "一，二"),
        ("等…………吧", "等……吧"),
    ],
)
def test_punctuation_between_han_becomes_full_width_and_runs_are_bounded(text: str, mended: str):
    assert mend_punctuation(text) == mended


@pytest.mark.parametrize(
    "text",
    [
        "3.14, 1,000 与 10:20",
        "约翰.史密斯",
        "见 https://a.b/c?d=中,文(三) 处",
        "调用 f(x, y) 与 `f(中,文)`",
        "| 中,文 | 是?否 |",
        "Hello, world! (yes)",
        "省略……号与破折——号",
        "好！！！",
        "[文](http://a.b)",
    ],
)
def test_numbers_addresses_and_code_keep_their_punctuation(text: str):
    assert mend_punctuation(text) == text


def test_scripts_are_converted_by_phrase():
    assert to_simplified("漢語的軟體與乾隆皇帝頭髮") == "汉语的软体与乾隆皇帝头发"
    assert to_traditional("汉语的头发和发展") == "漢語的頭髮和發展"
    assert to_simplified("abc 汉语 123") == "abc 汉语 123"


def test_what_is_traditional_already_is_not_converted_again():
    """OpenCC would make 幹擾 of it."""
    traditional = to_traditional("干扰傅里叶变换")
    assert traditional == "干擾傅里葉變換"
    assert to_traditional(traditional) == traditional


def test_emoji_go_and_signs_stay():
    assert remove_emoji("好😀👍🏽👨‍👩‍👧🇨🇳1️⃣❤️的") == "好的"
    assert remove_emoji("© ® ™ ★ ☆ → √ ① 〇 123 # * 々 🄯"[:-2]) == "© ® ™ ★ ☆ → √ ① 〇 123 # * 々"


def test_bare_addresses_go():
    assert remove_urls("见 https://a.b/c?d=1#e。再见 www.a.com/x，完") == "见。再见，完"
    assert remove_urls("`https://a.b` 与 awww.a") == "`https://a.b` 与 awww.a"
