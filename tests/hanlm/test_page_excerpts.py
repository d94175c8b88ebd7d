"""Differences between two texts as a report marks them."""

from hypothesis import given
from hypothesis import strategies as st

from hanlm.page_excerpts import Excerpt, Marked, differences, excerpts_html, visible

TEXTS = st.text(alphabet="天地人和，。ab", max_size=40)


def joined(pieces: Marked) -> str:
    return "".join(text for text, _ in pieces)


def unmarked(pieces: Marked) -> str:
    return "".join(text for text, is_marked in pieces if not is_marked)


@given(before=TEXTS, after=TEXTS)
def test_short_texts_are_shown_whole_and_what_is_unmarked_is_in_both(before: str, after: str):
    old, new = differences(before, after)
    if sum(is_marked for _, is_marked in (*old, *new)) < 8:
        assert (joined(old), joined(new)) == (before, after)
    assert unmarked(old) == unmarked(new)


def test_a_removed_piece_is_marked_in_the_text_that_has_it():
    old, new = differences("早上<b>下了</b>大雨", "早上下了大雨")
    assert [text for text, is_marked in old if is_marked] == ["<b>", "</b>"]
    assert list(new) == [("早上", False), ("下了", False), ("大雨", False)]


def test_what_differs_because_the_texts_were_cut_is_no_difference():
    text = "".join(chr(0x4E00 + i) for i in range(400))
    old, new = differences(f"甲乙{text[:198]}", text[:200], are_cut=True)
    assert [piece for piece, is_marked in (*old, *new) if is_marked] == ["甲乙"]


def test_long_stretches_are_shortened():
    text = "".join(chr(0x4E00 + i) for i in range(400))
    old, _ = differences(f"{text}{'x' * 900}末尾", f"{text}末尾")
    shown = joined(old)
    assert len(shown) < 400
    assert "700 characters" in shown
    assert shown.endswith("末尾")


def test_invisible_characters_are_seen():
    assert visible("a \t\u200b\u3000\n") == "a␣⇥\\u200b\\u3000↵\n"


def test_excerpts_are_escaped():
    html = excerpts_html([Excerpt(label="<b>", text=[("<i>", True), ("&", False)]), Excerpt(label='"', text="<u>")])
    assert not any(tag in html for tag in ("<b>", "<i>", "<u>"))
    assert "<mark>&lt;i&gt;</mark>&amp;" in html
