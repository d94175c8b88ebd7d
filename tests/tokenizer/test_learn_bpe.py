"""Continued BPE in numba equals a few lines of plain Python that tokenize everything again at each step."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlm.errors import InputError
from tokenizer.learn import WEIGHT_UNIT, learn
from tokenizer.pieces import SPACE, STRONG, class_table, segments
from tokenizer.start import start_from_characters

MODE = "han+punct+space"
TABLE = class_table(MODE)


def encode(text: str, ranks: dict[str, int], known: set[str]) -> list[str]:
    """SentencePiece's BPE: the best-ranked concatenation of neighbours first, the leftmost in a tie."""
    parts = list(text)
    while True:
        joinable = [
            (ranks[a + b], i)
            for i, (a, b) in enumerate(pairwise(parts))
            if a + b in ranks and all(len(p) > 1 or p in known for p in (a, b))
        ]
        if not joinable:
            return parts
        _, i = min(joinable)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def reference(weighted, known_chars, base_pieces, num_new, max_chars, min_gain):
    """Return the pieces that the definition gives, and the number of tokens left after each."""
    ranks, known, pieces, tokens = {p: i for i, p in enumerate(base_pieces)}, set(known_chars), [], []
    for _ in range(num_new):
        gains: Counter[str] = Counter()
        for segment, weight in weighted.items():
            parts = encode(segment, ranks, known)
            in_vocabulary = [len(p) > 1 or p in known for p in parts]
            for part, is_in in zip(parts, in_vocabulary, strict=True):
                if not is_in and TABLE[ord(part)] == STRONG:
                    gains[part] += weight * (len(part.encode()) - 1)
            for i, (a, b) in enumerate(pairwise(parts)):
                strong = any(TABLE[ord(c)] == STRONG for c in a + b)
                if in_vocabulary[i] and in_vocabulary[i + 1] and strong and len(a + b) <= max_chars:
                    gains[a + b] += weight
        best = min(gains, key=lambda s: (-gains[s], len(s), s), default=None)
        if best is None or gains[best] < min_gain:
            break
        pieces.append(best)
        if len(best) == 1:
            known.add(best)
        else:
            ranks[best] = len(ranks)
        tokens.append(
            sum(
                len(p.encode()) if len(p) == 1 and p not in known else 1
                for segment in weighted
                for p in encode(segment, ranks, known)
            )
        )
    return pieces, tokens


CHARS = "甲乙丙，" + SPACE + "“𠀀"
TEXTS = st.text(CHARS, min_size=1, max_size=14)


@settings(max_examples=250, deadline=None)
@given(
    st.dictionaries(TEXTS, st.integers(1, 5), min_size=1, max_size=12),
    st.sets(st.sampled_from(CHARS)),
    st.lists(st.text(CHARS, min_size=2, max_size=4), unique=True, max_size=4),
)
def test_learning_equals_the_definition_and_held_out_text_follows_exactly(counts, known, base_pieces):
    base_pieces = [p for p in base_pieces if set(p) <= known]
    weighted = {segment: count * WEIGHT_UNIT for segment, count in counts.items()}
    expected, tokens = reference(weighted, known, base_pieces, 12, 6, WEIGHT_UNIT)
    start = start_from_characters(weighted, [list(weighted)], MODE, known, base_pieces, 12, max_chars=6)
    learned = learn(start, sizes=list(range(1, 13)), min_gain=WEIGHT_UNIT)
    assert learned.pieces == expected
    saved = learned.saved[: len(expected), 0].tolist()
    assert [saved[0] - s for s in saved] == [t - tokens[0] for t in tokens] if tokens else not saved


def test_the_order_of_segments_does_not_matter():
    lines = ["他说，这本书很好。", "这本书他读了两遍", "“书”和“本书”", "读了这本书，很好"] * 3
    counts = Counter(s for line in lines for s in segments(line, MODE))
    weighted = {segment: count * WEIGHT_UNIT for segment, count in counts.items()}
    runs = [
        learn(start_from_characters(dict(order), [], MODE, (), (), 30), sizes=[30], min_gain=WEIGHT_UNIT)
        for order in (weighted.items(), reversed(weighted.items()), sorted(weighted.items()))
    ]
    assert len(runs[0].pieces) == 30
    assert runs[0].pieces == runs[1].pieces == runs[2].pieces


def test_every_prefix_of_a_large_budget_is_the_result_of_a_small_one():
    weighted = {s: WEIGHT_UNIT * (i + 2) for i, s in enumerate(["中国人民", "人民生活", "中国生活", "民生"])}
    large, small = (learn(start_from_characters(weighted, [], "han", "中", (), n), sizes=[n]).pieces for n in (14, 6))
    assert len(large) > 6
    assert large[:6] == small


def test_segments_hold_only_what_the_mode_allows():
    text = "He said “你好，世界” — 第 3 章 ▁假空格 ok"
    assert segments(text, "han") == ["你好", "世界", "第", "章", "假空格"]
    assert segments(text, "han+punct") == ["“你好，世界", "第", "章", "假空格"]
    assert segments(text, MODE) == [f"“你好，世界”{SPACE}—{SPACE}第", f"{SPACE}章", "假空格"]


def test_long_runs_of_spaces_are_cut_in_linear_time():
    assert segments(" " * 300_000 + "x" + "中" + " " * 300_000, MODE) == ["中"]


@pytest.mark.parametrize("limit", [20, 200])  # positions: 121; records: more
def test_more_text_than_positions_can_number_is_refused(monkeypatch: pytest.MonkeyPatch, limit: int):
    monkeypatch.setattr("tokenizer.start.MAX_POSITIONS", limit)
    with pytest.raises(InputError, match="pass a smaller --max-chars"):
        learn(start_from_characters({"甲乙丙丁" * 30: WEIGHT_UNIT}, (), "han", "甲乙丙丁", (), 5), sizes=[5])
