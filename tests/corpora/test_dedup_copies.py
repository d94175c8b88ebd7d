"""Which copies of documents go: of every set one stays, the first, whatever the tasks and processes."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dedup_runs import chinese, dedup, edited, kept, sign, split

from corpora.dedup.cluster import Cluster
from corpora.dedup.config import DedupConfig
from corpora.dedup.records import PAIR, open_array, task_file, write_array
from corpora.dedup.removals import Removals
from corpora.dedup.stages import dedup_stages

CONFIG = DedupConfig()


def mixed_texts(seed: int, count: int = 80) -> list[str]:
    """Return texts of which most have exact or near copies, shuffled."""
    draw = random.Random(seed)
    texts = [chinese(draw, draw.randrange(150, 400)) for _ in range(count // 4)]
    while len(texts) < count:
        source = draw.choice(texts)
        texts.append(source if draw.random() < 0.4 else edited(draw, source, draw.choice([0.005, 0.02, 0.3])))
    draw.shuffle(texts)
    return texts


def removals_of(removals: Sequence[Removals], tasks: Sequence[Sequence[str]]) -> list[str | None]:
    return [found.reason(index) for found, texts in zip(removals, tasks, strict=True) for index in range(len(texts))]


def test_each_removed_document_is_a_copy_of_one_that_stays_and_stands_before_it(tmp_path: Path) -> None:
    tasks = split(mixed_texts(1), [7, 0, 30])
    removals = dedup(tasks, CONFIG, tmp_path)
    count = 0
    for task, found in enumerate(removals):
        for index in range(len(tasks[task])):
            if found.reason(index) is None:
                assert found.copy_of(index) is None
                continue
            count += 1
            copy = found.copy_of(index)
            assert copy is not None
            assert copy < (task, index)
            assert removals[copy[0]].reason(copy[1]) is None
    assert count > 20


def test_no_text_disappears_with_its_last_copy(tmp_path: Path) -> None:
    tasks = split(mixed_texts(2), [40])
    remaining = kept(tasks, dedup(tasks, DedupConfig(near=False), tmp_path))
    assert len(remaining) == len(set(remaining)) < 80
    assert set(remaining) == {text for texts in tasks for text in texts}


def test_what_goes_is_what_connected_components_of_all_pairs_say(tmp_path: Path) -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    draw = np.random.default_rng(5)
    sizes, num_documents = [30, 0, 50, 20], 100
    sign([[f"文本{task}之{n}" for n in range(size)] for task, size in enumerate(sizes)], CONFIG, tmp_path)
    left, right = draw.integers(0, num_documents, (2, 60))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    pairs = np.empty(60, dtype=PAIR)
    for prefix, ends in (("", np.minimum(left, right)), ("other_", np.maximum(left, right))):
        tasks = np.searchsorted(offsets, ends, side="right") - 1
        pairs[f"{prefix}task"], pairs[f"{prefix}document"] = tasks, ends - offsets[tasks]
    write_array(task_file(tmp_path, "found/exact", 0), pairs[:20])
    write_array(task_file(tmp_path, "found/near", 0), pairs[20:])
    Cluster(tmp_path, len(sizes)).run()
    graph = coo_array((np.ones(60), (left, right)), shape=(num_documents, num_documents))
    labels = connected_components(graph, directed=False)[1]
    first = {label: int(np.flatnonzero(labels == label)[0]) for label in set(labels.tolist())}
    gone = {
        int(offsets[task] + document)
        for task in range(len(sizes))
        for document in open_array(task_file(tmp_path, "removed", task))["document"]
    }
    assert len(gone) > 30
    assert gone == {n for n in range(num_documents) if first[int(labels[n])] != n}


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]])
def test_of_a_chain_one_document_stays_the_first(tmp_path: Path, order: list[int]) -> None:
    draw = random.Random(11)
    text = chinese(draw, 900)
    # Each step changes another end: neighbours share most, the ends less.
    chain = [text, chinese(draw, 60) + text[60:], chinese(draw, 60) + text[60:-60] + chinese(draw, 60)]
    tasks = [[chain[index]] for index in order]
    removals = dedup(tasks, CONFIG, tmp_path)
    assert [found.reason(0) for found in removals] == [None, "near_duplicate", "near_duplicate"]
    assert removals[1].copy_of(0) == removals[2].copy_of(0) == (0, 0)


def test_exact_and_near_together_never_remove_all_of_a_set(tmp_path: Path) -> None:
    draw = random.Random(4)
    text = chinese(draw, 500)
    near = edited(draw, text, 0.005)
    for number, texts in enumerate(([near, text, near, text], [text, near, text, near], [text, text, near])):
        removals = dedup([texts[:2], texts[2:]], CONFIG, tmp_path / str(number))
        reasons = removals_of(removals, [texts[:2], texts[2:]])
        assert reasons.count(None) == 1
        assert reasons[0] is None
        assert "duplicate" in reasons
        assert "near_duplicate" in reasons


@pytest.mark.parametrize("sizes", [[80], [1, 1, 1], [79], [40, 0, 0, 39], [10] * 7])
def test_how_the_input_is_cut_into_tasks_changes_nothing(tmp_path: Path, sizes: list[int]) -> None:
    texts = mixed_texts(6)
    config = DedupConfig(lines=True, substrings=True, max_line_documents=1, min_substring=60)
    whole, cut = [texts], split(texts, sizes)
    expected, got = dedup(whole, config, tmp_path / "whole"), dedup(cut, config, tmp_path / "cut")
    assert removals_of(got, cut) == removals_of(expected, whole)
    assert kept(cut, got) == kept(whole, expected)


def test_more_finding_tasks_find_the_same(tmp_path: Path) -> None:
    texts = mixed_texts(7)
    config = DedupConfig(lines=True, substrings=True, max_line_documents=1, min_substring=60)
    tasks = split(texts, [20, 20])
    expected = kept(tasks, dedup(tasks, config, tmp_path / "few"))
    assert kept(tasks, dedup(tasks, config, tmp_path / "many", num_text_bytes=5_000_000_000)) == expected
    assert len(list((tmp_path / "many/found/near").glob("*.npy"))) > 14


def test_running_every_step_again_leaves_the_same_bytes(tmp_path: Path) -> None:
    tasks = split(mixed_texts(8), [33])
    config = DedupConfig(lines=True, substrings=True)

    def run() -> dict[str, bytes]:
        dedup(tasks, config, tmp_path, index_out=tmp_path / "index")
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    first = run()
    assert first == run()
    assert not any(".new" in name for name in first)


def test_the_executor_with_two_processes_writes_the_same_bytes(tmp_path: Path) -> None:
    from datatrove.executor import LocalPipelineExecutor

    tasks = split(mixed_texts(9, 40), [13, 13])
    config = DedupConfig(lines=True, substrings=True)
    dedup(tasks, config, tmp_path / "one")
    sign(tasks, config, tmp_path / "two")
    for stage in dedup_stages(tmp_path / "two", len(tasks), config, 0):
        logs = str(tmp_path / "logs" / stage.name)
        LocalPipelineExecutor(stage.pipeline, tasks=stage.num_tasks, workers=2, logging_dir=logs).run()
    for name in ("removed", "cuts", "taken"):
        files = sorted((tmp_path / "one" / name).glob("*.npy"))
        assert len(files) == len(tasks)
        assert all(file.read_bytes() == (tmp_path / "two" / name / file.name).read_bytes() for file in files)


@pytest.mark.fault(12)
def test_what_killed_tasks_left_behind_changes_nothing(tmp_path: Path) -> None:
    tasks = split(mixed_texts(10), [30])
    config = DedupConfig(lines=True, substrings=True)
    expected = kept(tasks, dedup(tasks, config, tmp_path / "undisturbed"))
    for kind in ("exact", "lines", "near/bucket_003", "found/exact", "found/near", "removed", "cuts", "taken"):
        (tmp_path / "killed" / kind).mkdir(parents=True)
        for name in (".00000.npy.new", ".00000.minhash.sig.new", ".00007.npy.new"):
            (tmp_path / "killed" / kind / name).write_bytes(b"half")
    assert kept(tasks, dedup(tasks, config, tmp_path / "killed")) == expected


def test_words_find_what_differs_in_a_few_words_and_leave_the_rest(tmp_path: Path) -> None:
    draw = random.Random(12)
    pool = "今天我们公园天气老师学生图书报纸火车城市农村生活水平提高经济发展历史文化音乐电影"
    words = [pool[at : at + 2] for at in range(0, len(pool), 2)]
    text = "".join(draw.choice(words) for _ in range(300))
    other = "".join(draw.choice(words) for _ in range(300))
    texts = [text, text + "。", "新闻：" + text[:-2] + "！", other]
    removals = dedup([texts], DedupConfig(shingles="words"), tmp_path)[0]
    assert [removals.reason(n) for n in range(4)] == [None, "near_duplicate", "near_duplicate", None]


def test_a_task_without_documents_is_a_task_like_others(tmp_path: Path) -> None:
    everything: dict[str, Any] = {"lines": True, "substrings": True}
    assert kept([[], []], dedup([[], []], DedupConfig(**everything), tmp_path, index_out=tmp_path / "index")) == []


@pytest.mark.slow
def test_a_hundred_thousand_documents_in_bounded_memory(tmp_path: Path) -> None:
    import resource

    draw = random.Random(0)
    originals = [chinese(draw, 80) for _ in range(50_000)]
    texts = originals + [originals[i] if i % 2 else originals[i] + "完。" for i in range(50_000)]
    tasks = split(texts, [10_000] * 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    removals = dedup(tasks, DedupConfig(lines=True, substrings=True), tmp_path, num_text_bytes=10_000_000_000)
    reasons = removals_of(removals, tasks)
    assert reasons[:50_000] == [None] * 50_000
    assert reasons[50_000:].count("duplicate") == 25_000
    assert reasons[50_000:].count(None) < 250
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
