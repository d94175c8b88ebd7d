"""Lines broken at a width are joined; everything that is short or ragged on purpose stays."""

import textwrap

import pytest

from corpora.cleaning.hyphens import joined_at_hyphen
from corpora.cleaning.rejoin_lines import rejoin_lines

PARAGRAPH = (
    "早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去，老师站在门口等着他们，看见一个就点点头，说一声早上好" * 3
)
SECOND = "他打开信，读了两遍，又默默地放回抽屉里，什么也没有说，只是望着窗外的树，想着很久以前的那个冬天" * 3
ENGLISH = (
    "The boats that lay beside the harbour were painted white and blue, and every morning before the sun rose the "
    "fishermen carried their nets down to the water, talking quietly about the weather and about the price of fish in "
    "the market of the next town, where their wives would sell what they had caught during the night"
)


def wrapped(text: str, num_chars: int) -> str:
    return "\n".join(text[i : i + num_chars] for i in range(0, len(text), num_chars))


@pytest.mark.parametrize("num_chars", [24, 35, 40])
def test_a_broken_chinese_book_comes_back(num_chars: int):
    book = f"第一章 大雨\n\n{PARAGRAPH}。\n\n{SECOND}。"
    broken = f"第一章 大雨\n\n{wrapped(PARAGRAPH + '。', num_chars)}\n\n{wrapped(SECOND + '。', num_chars)}"
    assert rejoin_lines(broken) == book
    assert rejoin_lines(book) == book


@pytest.mark.parametrize("width", [60, 72])
def test_broken_english_comes_back_with_blanks(width: int):
    text = f"{ENGLISH}, and {ENGLISH}"
    assert rejoin_lines(textwrap.fill(text, width)) == text


@pytest.mark.parametrize(
    ("habit", "joint"),
    [("他用Python写，我用Java写，", "写了Python程序"), ("他用 Python 写，我用 Java 写，", "写了 Python 程序")],
)
def test_between_han_and_latin_the_text_s_own_habit_decides(habit: str, joint: str):
    body = wrapped(SECOND * 4, 30).split("\n")[:12]
    first, last = joint[:2], joint[2:].strip()
    lines = [*body, (habit + SECOND)[: 26 + habit.count(" ")], SECOND[:28] + first, last + SECOND[:20] + "。"]
    assert joint in rejoin_lines("\n".join(lines))


VERSE = """The boats go out before the break of day,
And none can tell how long they mean to stay
Beyond the rock, beyond the furthest light
That burns for them and burns through all the night
Until the women, walking to the shore,
Have counted sails as they have done before
And count again, and find that there is one
That has not come, and will not with the sun"""


@pytest.mark.parametrize(
    "text",
    [
        VERSE,
        "\n".join(["床前明月光", "疑是地上霜", "举头望明月", "低头思故乡"] * 4),
        "\n".join(
            ["轻轻的我走了", "正如我轻轻的来", "我轻轻的招手", "作别西天的云彩", "那河畔的金柳", "是夕阳中的新娘"] * 2
        ),
        "\n".join(f"- 第{i}项是一个很长的列表项目它的长度差不多都是一样的没有标点" for i in "一二三四五六七八"),
        "\n".join(
            ["张三", "这里是一条很长的新闻标题它没有标点符号但是长度不一样", "短标题", "另一条稍微长一点的标题"] * 3
        ),
        "\n".join(f"{PARAGRAPH}。" for _ in range(8)),
        "\n".join(f"    value_{i:02} = compute_the_value(of_something={i}, with_a_long_name=True)" for i in range(9)),
    ],
)
def test_verse_lists_paragraphs_and_programs_stay(text: str):
    assert rejoin_lines(text) == text


def test_headings_and_items_within_a_broken_book_stay_apart():
    lines = wrapped(PARAGRAPH * 6, 30).split("\n")[:-1]
    text = "\n".join([*lines, "第二章 归来", *lines, "- 一项", "- 二项", "# 标题", *lines])
    joined = rejoin_lines(text)
    assert joined != text
    for line in ("第二章 归来", "- 一项", "- 二项", "# 标题"):
        assert line in joined.split("\n")


@pytest.mark.parametrize(
    ("left", "right", "text", "joined"),
    [
        ("an exam-", "ple here", "", "an example here"),
        ("a well-", "known man", "", "a well-known man"),
        ("a rule-", "based way", "", "a rule-based way"),
        ("the co-", "operate", "they co-operate", "the co-operate"),
        ("the self-", "ish", "so selfish", "the selfish"),
        ("from A-", "bc", "", None),
        ("pages 3-", "5", "", None),
        ("Jean-", "Paul", "", None),
    ],
)
def test_hyphens_at_line_ends(left: str, right: str, text: str, joined: str | None):
    assert joined_at_hyphen(left, right, text) == joined
