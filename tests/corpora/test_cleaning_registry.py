"""The cleaners as a whole: their order, their presets, and what none of those that are on by default may touch."""

import pickle
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpora.cleaning.chain import Chain
from corpora.cleaning.registry import CLEANERS, PRESETS, make, ordered, preset
from hanlm.errors import ConfigError
from hanlm.text import normalise

MIXED = st.lists(
    st.sampled_from(
        [
            *"中国人民的一是不了在有甲乙丙后里着乾，。！？；：（）《》“”、…　 \t\n\n",
            *",.!?;:()[]<>{}&#@*-_=|`~$'\"/\\0123xXaAeé",
            "中 国 人 民",
            " ，",
            "&amp;lt;",
            "&nbsp;",
            "&#x4e2d;",
            "\\u4e2d\\u6587",
            "\\u3000",
            "ä¸\xadæ–‡",
            "锛",
            "<p>",
            "</p>",
            "<br/>",
            "<b>",
            "</b>",
            "<!--",
            "-->",
            "![图](a.png)",
            "[文](http://a.b/c)",
            "[1]: https://a.b",
            "[b]",
            "[/b]",
            "[[",
            "]]",
            "{{cite|",
            "}}",
            "-{zh-hans:软件;zh-hant:軟體}-",
            "首页 | 新闻 | 登录",
            "上一页",
            "京ICP备12345678号",
            "https://a.b/c?d=1",
            "13812345678",
            "a@b.com",
            "粤B12345",
            "😀",
            "1️⃣",
            "exam-\nple",
            "```\n",
            "def f(x):\n    return x[0](y) < 1\n",
            "乾隆幹後裡隻",
        ]
    ),
    max_size=40,
).map("".join)


@pytest.mark.parametrize("name", CLEANERS)
@given(text=MIXED)
@settings(max_examples=300, deadline=None)
@example(text="")
def test_cleaning_twice_is_cleaning_once(name: str, text: str):
    clean = make(name)
    once = clean(text)
    assert clean(once) == once


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_the_chain_takes_any_text(text: str):
    for name in PRESETS:
        Chain(preset(name))(text)


ENGLISH = """The well-known author wrote 3.14, 1,000 and 10:20 -- "see also" (p. 7); isn't it?  Two blanks stay.

A second paragraph: a < b, x > y & z, [1] a citation, [sic], {braces}, * and _emphasis_, 50% of $20...

Written on 2026-11-23 at 09:30; ISBN 978-7-302-12345-6; order 20261123000123456; c = 299792458 m/s."""
PYTHON = '''"""Handlers, each by its name."""

import re
from collections.abc import Callable

TABLE: dict[str, Callable[[str], int]] = {}
MATRIX = [[1, 2], [3, 4]]
LIMIT = 15485863001


class Page:
    def render(self, name: str) -> str:
        if 1 < len(name) and name[0](self) < 3 and TABLE[name](name) > 2:
            return "<p>" + re.sub(r"[\\u4e00-\\u9fa5]", "&nbsp;", name) + "</p>"
        return f"<a href='{name}'>{name}</a>"
'''
TABLE = """| 姓 名 | 甲 | 数量 | 备注 |
|:---|---:|---|---|
| 首页 | a < b | 1,000.5 | [x](http://a.b) |
| 甲 乙 丙 丁 | `<b>` | 13:45 | &nbsp; |"""
FENCED = "先看代码。\n\n```html\n<p>首 页 内 容 &lt;b&gt;</p>\n上一页\n```\n\n再看 `a[i](x/y)`、`&lt;` 与 $a<b>c$。"
CHINESE = """第一章 总则

第一条 为了保护公民的合法权益，根据宪法，制定本法。

他说：“好！”（见 Python 3.12 的文档，第 5 页。）张三 李四 王五都来了……

　床前明月光 疑是地上霜
一、甲 乙 丙 丁
二、若 a < b 且 c > d，则 List<String> 与 #include <stdio.h> 不变，AT&T 也不变。"""


@pytest.mark.parametrize("text", [ENGLISH, PYTHON, TABLE, FENCED, CHINESE])
def test_what_is_well_written_stays_byte_for_byte(text: str):
    text = normalise(text)
    for name in preset("web"):
        assert make(name)(text) == text, name


@pytest.mark.parametrize("name", CLEANERS)
def test_hostile_text_costs_linear_time(name: str):
    """What is opened and never closed, and matches by the ten thousand: a quadratic cleaner would take minutes."""
    clean = make(name)
    pieces = ["<!--", "<script>", "<b>", "[", "![", "[[", "{{cite ", "&amp;", "\\u4e2d", "`", "$", "~~~\n", "|\n", "1-"]
    pieces += [
        "13812345678 ",
        "a@b.",
        "中 国 ",
        ", ",
        "首页 | ",
        "鎴",
        "é…»",
        "a-\n",
        "👍‍",
        "http://",
        "（",
        "x=1;\n",
        "。",
    ]
    for piece in pieces:
        clean(piece * (100_000 // len(piece)))


def test_the_cleaners_run_in_the_order_of_the_table():
    assert preset("plain") == ("normalise",)
    assert preset("web") == (
        "repair", "normalise", "markup", "boilerplate", "spacing", "rejoin-lines", "personal-data",
    )  # fmt: skip
    assert ordered(["personal-data", "normalise", "repair"]) == ("repair", "normalise", "personal-data")


def test_each_cleaner_says_in_one_line_what_it_does_and_can_travel_to_a_worker():
    for name, info in CLEANERS.items():
        assert name == name.lower().replace("_", "-")
        assert 20 < len(info.description) < 120
        assert "\n" not in info.description
        assert pickle.loads(pickle.dumps(make(name))) == make(name)


def test_names_that_are_unknown_or_undo_each_other_are_refused():
    with pytest.raises(ConfigError, match="markdown"):
        make("markdown")
    with pytest.raises(ConfigError, match="markdown"):
        ordered(["normalise", "markdown"])
    with pytest.raises(ConfigError, match="undo"):
        Chain(["to-traditional", "normalise", "to-simplified"])
    with pytest.raises(ConfigError, match="wide"):
        preset("wide")


def test_the_chain_says_which_cleaners_changed_a_text_and_leaves_the_normal_form():
    chain = pickle.loads(pickle.dumps(Chain(preset("web"))))
    text, changed = chain.explain("<p>您好&nbsp;</p>\r\n<p>电话 13812345678</p>\n首页 | 新闻 | 登录\n")
    assert text == "您好\n\n电话 【手机号】"
    assert changed == ("repair", "normalise", "markup", "boilerplate", "personal-data")
    assert normalise(text) == text
    assert chain.explain("干净的一句话。") == ("干净的一句话。", ())


def test_cleaners_for_chinese_leave_other_languages_alone():
    chain = Chain(["normalise", "to-simplified"])
    assert chain("漢字") == "汉字"
    assert chain("漢字を学ぶ", chinese=False) == "漢字を学ぶ"


def test_listing_the_cleaners_loads_no_heavy_library():
    heavy = {"opencc", "rjieba", "datatrove", "torch"}
    code = f"import sys, corpora.cleaning.registry; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
