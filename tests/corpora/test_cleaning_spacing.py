"""Blanks that nobody wrote go; blanks that part words, names and verses stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.cleaning.spacing import mend_spacing


@pytest.mark.parametrize(
    ("spaced", "mended"),
    [
        ("中 国 人 民 站 起 来 了", "中国人民站起来了"),
        ("中  国  人  民", "中国人民"),
        ("学 习 中 国 历 史 ， 热 爱 祖 国 。", "学习中国历史，热爱祖国。"),
        ("今天 天气 很 好 ，我们 一起 去 公园 玩 了 半天 。", "今天天气很好，我们一起去公园玩了半天。"),
        ("他来了 ，又走了 。", "他来了，又走了。"),
        ("他来了， 又走了； 没说话。", "他来了，又走了；没说话。"),
        ("目  录", "目录"),
        ("第 一 章 总则", "第一章 总则"),
        ("《 红楼梦 》", "《红楼梦》"),
    ],
)
def test_blanks_that_nobody_wrote_go(spaced: str, mended: str):
    assert mend_spacing(spaced) == mended


@pytest.mark.parametrize(
    "text",
    [
        "第一条 为了保护公民的合法权益",
        "甲 乙 丙 丁",
        "一 二 三 四 五 六",
        "东 南 西 北 中",
        "子 丑 寅 卯",
        "是 否 有 无",
        "床前明月光 疑是地上霜 举头望明月",
        "张三 李四 王五 赵六",
        "使用 Python 3.12 编写 Web 服务 ok",
        "他说。 我听。 你看！ 好？ 是",
        "| 中 国 人 民 | 站 起 来 了 |",
        "`中 国 人 民` 与 $中 国 人 民$",
        "姓 名\t年 龄\t中 国 人 民",
        "赵 孙 周 吴",
        "a b c d , e",
        "生抽 10 ml 、蚝油 6 ml",
    ],
)
def test_blanks_that_part_something_stay(text: str):
    assert mend_spacing(text) == text


@given(st.text(st.sampled_from("中国人民 ，。a1\n“”（）甲乙")))
def test_nothing_but_blanks_goes(text: str):
    assert mend_spacing(text).replace(" ", "") == text.replace(" ", "")
