"""What a crawl left half decoded is made whole; what is fine stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.cleaning.repair import repair

SENTENCES = ["我们都是好人，你说呢？", "中文编码", "他说：“好的。”……", "今天（星期一）下雨了。"]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_utf8_that_was_read_as_latin_1_comes_back(sentence: str):
    assert repair(f"标题 {sentence.encode().decode('latin-1')} end") == f"标题 {sentence} end"


@pytest.mark.parametrize("sentence", SENTENCES)
def test_utf8_that_was_read_as_windows_1252_comes_back(sentence: str):
    """Five bytes have no character there; browsers show them as controls, as here."""
    garbled = "".join(
        bytes([b]).decode("cp1252") if b not in {0x81, 0x8D, 0x8F, 0x90, 0x9D} else chr(b) for b in sentence.encode()
    )
    assert repair(garbled) == sentence


@pytest.mark.parametrize("sentence", ["我们都是好人", "中国人民是的", "他说的话", "我们，我们，"])
def test_utf8_that_was_read_as_gbk_comes_back_where_no_byte_was_lost(sentence: str):
    """An even number of characters has an even number of bytes, all of which pair up."""
    garbled = sentence.encode().decode("gb18030")
    assert garbled != sentence
    assert repair(f"题 {garbled}\n") == f"题 {sentence}\n"


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("itâ€™s", "it’s"),
        ("cafÃ©", "café"),
        ("20Â°C", "20°C"),
        ("ðŸ˜€", "😀"),
        ("A&amp;B", "A&B"),
        ("a&amp;amp;amp;lt;b", "a<b"),
        ("&#20013;&#x6587;", "中文"),
        ("&ldquo;好&rdquo;&nbsp;的", "“好” 的"),
        (r"开头\u3000\u3000段落", "开头 段落"),
        (r"标题\u4e2d\u6587结束", "标题中文结束"),
        (r"标题 \u4e2d\u6587 结束", "标题 中文 结束"),
        (r"\u4e2dA\u6587b\ud83d\ude00", "中A文b😀"),
    ],
)
def test_mended(broken: str, mended: str):
    assert repair(broken) == mended


@pytest.mark.parametrize(
    "text",
    [
        "AT&T 与 R&D；a && b；&nosuch; &#xD800; &#0; &;",
        "les «cafés…» d’été, É” MAÇÃ», naïve, Ångström, 5 × 3 ± 2 °C",
        "涓涓细流，鏈是链的繁体，银鐨",
        r"正则 [\u4e00-\u9fa5] 与 \\u4e2d 与 '\u4e2d\u6587' 与 C:\users\u1234x",
        "代码 `&lt;b&gt;` 与\n```\n&amp;\n```\n与公式 $a&lt;b$",
        "HTML 实体 &lt; 表示小于号",
        "\ud800 lone",
    ],
)
def test_what_is_fine_stays(text: str):
    assert repair(text) == text


@given(st.text(st.characters(codec="gb2312"), min_size=1).filter(lambda text: not {"&", "\\"} & set(text)))
def test_text_in_the_characters_of_gb2312_stays(text: str):
    assert repair(text) == text


def test_deep_nesting_costs_linear_time_and_is_mended():
    assert repair("&" + "amp;" * 100_000 + "lt;") == "<"
