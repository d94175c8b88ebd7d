"""Repeated lines and passages: what is cut is a repeat, what is a repeat is found, nothing is lost."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dedup_runs import chinese, dedup, kept, sign, split

from corpora.dedup import kernels
from corpora.dedup.config import DedupConfig
from corpora.dedup.cuts import agreed_cuts
from corpora.dedup.letters import code_points
from corpora.dedup.records import open_array, task_file
from corpora.dedup.removals import Removals
from hanlm.errors import ArtifactError

SMALL: dict[str, Any] = {"window": 8, "winnow": 6, "min_substring": 16, "whole_sentences": False}
PASSAGES = DedupConfig(exact=False, near=False, substrings=True, **SMALL)
LINES = DedupConfig(exact=False, near=False, lines=True, max_line_documents=2)


def chosen_windows(text: str, window: int, width: int) -> tuple[list[int], list[int]]:
    points = code_points(text)
    hashes, chosen = np.zeros(len(points), dtype=np.uint64), np.zeros(len(points), dtype=np.uint32)
    count = kernels.winnow(points, window, width, hashes, chosen)
    return chosen[:count].tolist(), hashes[: len(points) - window + 1].tolist()


@pytest.mark.parametrize("alphabet", ["啊", "的了", "的一是在不了有和人这中大为上个国我以要他"])
@pytest.mark.parametrize(("window", "width"), [(1, 1), (8, 6), (5, 5), (50, 50), (64, 64), (64, 3)])
def test_winnowing_chooses_the_least_of_every_run_of_windows(alphabet: str, window: int, width: int) -> None:
    draw = random.Random(window)
    for length in (0, window, window + width - 2, window + width - 1, window + width, 700):
        text = "".join(draw.choice(alphabet) for _ in range(length))
        chosen, hashes = chosen_windows(text, window, width)
        assert chosen == sorted(set(chosen))
        runs = [range(first, first + width) for first in range(length - window - width + 2)]
        assert bool(runs) == bool(chosen)
        for run in runs:
            least = min(hashes[at] for at in run)
            assert any(hashes[at] == least for at in run if at in set(chosen))
        assert all(any(at in run and hashes[at] == min(hashes[i] for i in run) for run in runs) for at in chosen)


@pytest.mark.parametrize("window", [1, 2, 8, 50, 63, 64])
def test_windows_have_one_hash_where_their_text_is_one_and_else_not(window: int) -> None:
    draw = random.Random(window)
    text = "".join(draw.choice("的了是") for _ in range(400)) * 2
    _, hashes = chosen_windows(text, window, 1)
    windows = [text[at : at + window] for at in range(len(text) - window + 1)]
    assert len(hashes) == len(windows)
    assert len(set(zip(windows, hashes, strict=True))) == len(set(windows)) == len(set(hashes))


def test_a_run_of_one_character_costs_no_more_than_other_text() -> None:
    assert len(chosen_windows("哈" * 10_000, 50, 50)[0]) < 250


def planted(seed: int, alphabet: str) -> list[str]:
    """Return documents that quote each other, in chains and overlapping."""
    draw = random.Random(seed)
    documents = list[str]()
    for _ in range(25):
        pieces = ["".join(draw.choice(alphabet) for _ in range(draw.randrange(5, 60))) for _ in range(4)]
        for _ in range(draw.randrange(4) if documents else 0):
            source = draw.choice(documents)
            start = draw.randrange(len(source))
            pieces.insert(draw.randrange(len(pieces)), source[start : start + draw.randrange(5, 90)])
        documents.append("".join(pieces))
    return documents


ALPHABETS = {"many": "".join(chr(0x4E00 + n) for n in range(3000)), "few": "的一是了我", "two": "的了"}


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("seed", range(12))
def test_every_cut_is_a_repeat_of_text_that_is_left_in_one_piece(tmp_path: Path, seed: int, alphabet: str) -> None:
    tasks = split(planted(seed, ALPHABETS[alphabet]), [10, 3])
    removals = dedup(tasks, PASSAGES, tmp_path)
    left = [[found.apply(n, text)[0] for n, text in enumerate(tasks[task])] for task, found in enumerate(removals)]
    num_cuts = 0
    for task, texts in enumerate(tasks):
        for cut in agreed_cuts(tmp_path, task, PASSAGES.min_substring):
            text = texts[cut["document"]][cut["start"] : cut["end"]]
            source = (int(cut["source_task"]), int(cut["source_document"]))
            assert len(text) >= PASSAGES.min_substring
            assert source < (task, int(cut["document"]))
            assert tasks[source[0]][source[1]][cut["source_start"] : cut["source_end"]] == text
            assert text in left[source[0]][source[1]]
            num_cuts += 1
    assert num_cuts > 5
    assert all(text.strip() for text in left[0])


@pytest.mark.parametrize("seed", range(20))
def test_a_passage_long_enough_is_cut_all_but_its_ends(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    slack = PASSAGES.winnow - 1
    shared = chinese(draw, PASSAGES.min_substring + 2 * slack + draw.randrange(40))
    front, back = chinese(draw, draw.randrange(50)), chinese(draw, draw.randrange(1, 50))
    tasks = [[chinese(draw, 40) + shared + chinese(draw, 40)], [front + shared + back]]
    left, counts = dedup(tasks, PASSAGES, tmp_path)[1].apply(0, tasks[1][0])
    assert counts["passages"] == 1
    assert len(left) <= len(front) + len(back) + 2 * slack + 2  # a neighbour may chance to agree
    assert left.startswith(front)
    assert left.endswith(back)


@pytest.mark.parametrize("seed", range(20))
def test_two_documents_that_share_enough_share_a_fingerprint(seed: int) -> None:
    draw = random.Random(seed)
    for alphabet in ALPHABETS.values():
        window, width = draw.randrange(1, 20), draw.randrange(1, 20)

        def text(length: int, alphabet: str = alphabet) -> str:
            return "".join(draw.choice(alphabet) for _ in range(length))

        shared = text(window + width - 1)
        prints = [
            {hashes[at] for at in chosen}
            for chosen, hashes in (chosen_windows(text(30) + shared + text(30), window, width) for _ in range(2))
        ]
        assert prints[0] & prints[1]


def test_documents_without_repeats_keep_every_character(tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = [chinese(draw, 2000) for _ in range(20)]
    config = DedupConfig(lines=True, substrings=True, max_line_documents=1)
    assert kept([texts], dedup([texts], config, tmp_path)) == texts


def test_a_repeat_within_one_document_is_left_to_the_repetition_rules(tmp_path: Path) -> None:
    refrain = chinese(random.Random(1), 300)
    text = f"{refrain}\n第一段。\n{refrain}\n第二段。\n{refrain}"
    config = DedupConfig(lines=True, substrings=True, max_line_documents=1)
    assert kept([[text]], dedup([[text]], config, tmp_path)) == [text]


def test_whole_sentences_are_cut_and_the_rest_reads_on(tmp_path: Path) -> None:
    draw = random.Random(2)
    shared = chinese(draw, 600).rpartition("。")[0] + "。"
    own = "编者按：以下是转载的全文，供大家参考。"
    tasks = [["原文。" + shared + "完。"], [own + shared + "感谢阅读。"]]
    config = DedupConfig(exact=False, near=False, substrings=True)
    left, counts = dedup(tasks, config, tmp_path)[1].apply(0, tasks[1][0])
    assert counts["passages"] == 1
    assert len(left) < 250
    assert left.startswith(own)
    assert left.endswith("感谢阅读。")
    sentences = set((tasks[1][0]).split("。"))
    assert all(sentence in sentences for sentence in left.split("。"))


def test_a_passage_without_a_sentence_end_inside_stays_whole(tmp_path: Path) -> None:
    draw = random.Random(3)
    shared = "".join(chr(draw.randrange(0x4E00, 0x9000)) for _ in range(400))
    tasks = [["甲" + shared + "乙"], ["丙" + shared + "丁"]]
    config = DedupConfig(exact=False, near=False, substrings=True)
    assert kept(tasks, dedup(tasks, config, tmp_path)) == [tasks[0][0], tasks[1][0]]


MENU = "首页 新闻 体育 财经 娱乐 科技 汽车"


def pages(count: int) -> list[str]:
    return [f"{MENU}\n{chinese(random.Random(n), 60)}\n{MENU}" for n in range(count)]


def test_a_line_in_many_documents_stays_in_the_first_alone(tmp_path: Path) -> None:
    texts = pages(3)
    tasks = split(texts, [1])
    removals = dedup(tasks, LINES, tmp_path)
    assert kept(tasks, removals) == [texts[0], *(chinese(random.Random(n), 60) for n in (1, 2))]
    assert removals[1].apply(0, texts[1])[1] == {"lines": 2, "chars": 2 * len(MENU) + 1}


def test_a_line_in_as_many_documents_as_are_allowed_stays(tmp_path: Path) -> None:
    texts = pages(2)
    assert kept([texts], dedup([texts], LINES, tmp_path)) == texts


def test_lines_are_compared_by_their_letters_and_short_ones_stay(tmp_path: Path) -> None:
    bodies = [chinese(random.Random(n), 60) for n in range(4)]
    texts = [f"版权所有{dash}未经许可 不得转载{dash}\n转载\n{body}" for body, dash in zip(bodies, "—-|。", strict=True)]
    remaining = kept([texts], dedup([texts], LINES, tmp_path))
    assert remaining[0] == texts[0]
    assert remaining[1:] == [f"转载\n{body}" for body in bodies[1:]]


def test_no_line_is_lost_with_a_document_that_goes(tmp_path: Path) -> None:
    line = "这一行只出现在被去掉的重复文档和后面的文档里。"
    draw = random.Random(5)
    body = chinese(draw, 900)
    first, near = body, f"{body}\n{line}"
    others = [f"{chinese(draw, 100)}\n{line}" for _ in range(4)]
    config = DedupConfig(lines=True, max_line_documents=1)
    tasks = [[first, near], others]
    removals = dedup(tasks, config, tmp_path)
    assert removals[0].reason(1) == "near_duplicate"
    remaining = kept(tasks, removals)
    assert [line in text for text in remaining] == [False, True, False, False, False]


@pytest.mark.parametrize("seed", range(10))
def test_lines_and_passages_together_lose_nothing(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    lines = [chinese(draw, draw.randrange(12, 60)) for _ in range(40)]
    texts = ["\n".join(draw.choice(lines) + draw.choice(["", "", "甲乙丙"]) for _ in range(12)) for _ in range(40)]
    config = DedupConfig(
        exact=False, near=False, lines=True, substrings=True, max_line_documents=1, min_line_letters=8, **SMALL
    )
    tasks = split(texts, [15, 5])
    removals = dedup(tasks, config, tmp_path)
    remaining = kept(tasks, removals)
    all_left = "\n\n".join(remaining)
    cuts = 0
    for task, own in enumerate(tasks):
        for cut in agreed_cuts(tmp_path, task, config.min_substring):
            text = own[cut["document"]][cut["start"] : cut["end"]]
            assert text in all_left
            cuts += 1
    assert cuts > 100
    assert len(all_left) < 0.5 * len("\n\n".join(texts))


def test_a_text_that_was_not_signed_is_refused(tmp_path: Path) -> None:
    texts = pages(3)
    removals = dedup([texts], LINES, tmp_path)
    with pytest.raises(ArtifactError, match="do not belong"):
        removals[0].apply(2, "短")


def test_records_of_lines_say_where_the_line_stands(tmp_path: Path) -> None:
    text = "短行\n" + "这一行有超过十个汉字。" + "\n\n  " + "Another line, of letters." + "\n"
    sign([[text]], LINES, tmp_path)
    places = sorted((int(row["position"]), int(row["length"])) for row in open_array(task_file(tmp_path, "lines", 0)))
    assert [text[at : at + length] for at, length in places] == [
        "这一行有超过十个汉字。",
        "  Another line, of letters.",
    ]


def test_removals_of_an_unfinished_run_are_refused(tmp_path: Path) -> None:
    sign([["文本"]], LINES, tmp_path)
    with pytest.raises(ArtifactError, match=r"removed/00000\.npy"):
        Removals.load(tmp_path, 0, LINES)
