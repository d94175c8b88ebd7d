"""Sliding windows: every token scored once, with as much context as the length and stride promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.spans import document_spans


@given(num_tokens=st.integers(0, 200), length=st.integers(1, 40), data=st.data())
def test_every_token_is_scored_exactly_once_with_the_promised_context(
    num_tokens: int, length: int, data: st.DataObject
):
    stride = data.draw(st.integers(1, length))
    ids = list(range(num_tokens + 1))  # the context token is 0
    scored: list[int] = []
    for span in document_spans(7, ids, length=length, stride=stride):
        assert span.owner == 7
        assert len(span.ids) - 1 <= length
        assert list(span.ids) == list(range(span.ids[0], span.ids[-1] + 1))
        assert span.num_scored == len(span.ids) - span.first_scored > 0
        for position in range(span.first_scored, len(span.ids)):
            context = position
            assert context >= min(span.ids[position], length - stride + 1)
            scored.append(span.ids[position])
    assert scored == ids[1:]


def test_only_the_first_window_holds_the_context_token():
    spans = list(document_spans(0, list(range(11)), length=4, stride=2))
    assert [list(span.ids) for span in spans][:2] == [[0, 1, 2, 3, 4], [2, 3, 4, 5, 6]]
    assert [span.first_scored for span in spans] == [1, 3, 3, 3]


@pytest.mark.parametrize("ids", [[], [1]])
def test_a_document_without_tokens_has_no_window(ids: list[int]):
    assert list(document_spans(0, ids, length=4, stride=2)) == []
