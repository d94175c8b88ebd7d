"""An index of what earlier runs kept."""

import json
import random
from pathlib import Path

import pytest
from dedup_runs import chinese, dedup, edited, kept

from corpora.dedup.config import DedupConfig
from corpora.dedup.index import known_runs, publish_index, seal_index
from hanlm.errors import ArtifactError, ConfigError

CONFIG = DedupConfig()


def run(index: Path, name: str, texts: list[str], work: Path, config: DedupConfig = CONFIG) -> list[str | None]:
    """Deduplicate against the index and add what is kept; return the reasons."""
    out = work / "index"
    runs = known_runs(index, config, name)
    removals = dedup([texts[:2], texts[2:]], config, work, runs=runs, index_out=out)
    seal_index(out, config)
    publish_index(out, index, name)
    return [removals[0].reason(i) for i in range(len(texts[:2]))] + [
        removals[1].reason(i) for i in range(len(texts[2:]))
    ]


def texts_of(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [chinese(draw, 400) for _ in range(count)]


def test_a_later_run_drops_what_an_earlier_one_has_and_the_other_way_round(tmp_path: Path) -> None:
    shared, only_a, only_b = texts_of(1, 3), texts_of(2, 3), texts_of(3, 3)
    near = [edited(random.Random(4), text, 0.01) for text in shared[:1]]
    a, b = [*only_a, *shared], [*near, *shared[1:], *only_b]
    for number, (first, second) in enumerate(((a, b), (b, a))):
        index = tmp_path / f"index-{number}"
        assert run(index, "first", first, tmp_path / f"first-{number}") == [None] * 6
        reasons = run(index, "second", second, tmp_path / f"second-{number}")
        assert reasons.count("known_duplicate") == 3
        assert reasons.count(None) == 3


def test_a_copy_of_a_known_document_goes_with_it(tmp_path: Path) -> None:
    text = texts_of(5, 1)[0]
    run(tmp_path / "index", "a", [text], tmp_path / "a")
    removals = dedup([[text + "完。", text, "别的文章。"]], CONFIG, tmp_path / "b", runs=[tmp_path / "index/a"])
    assert [removals[0].reason(i) for i in range(3)] == ["known_duplicate", "known_duplicate", None]
    assert removals[0].copy_of(1) is None


def test_a_run_does_not_meet_its_own_earlier_try(tmp_path: Path) -> None:
    texts, index = texts_of(6, 5), tmp_path / "index"
    assert run(index, "a", texts, tmp_path / "1") == [None] * 5
    before = {path.name: path.read_bytes() for path in (index / "a").iterdir()}
    assert run(index, "a", texts, tmp_path / "2") == [None] * 5
    assert {path.name: path.read_bytes() for path in (index / "a").iterdir()} == before
    assert [path.name for path in index.iterdir()] == ["a"]


def test_three_runs_grow_one_index_and_dropped_documents_are_not_added_again(tmp_path: Path) -> None:
    texts, index = texts_of(7, 9), tmp_path / "index"
    run(index, "a", texts[:4], tmp_path / "1")
    run(index, "b", texts[2:7], tmp_path / "2")
    assert run(index, "c", texts, tmp_path / "3") == ["known_duplicate"] * 7 + [None] * 2
    sizes = {name: (index / name / "exact-000.npy").stat().st_size for name in "abc"}
    assert (sizes["a"] - sizes["b"], sizes["b"] - sizes["c"]) == (16, 16)  # 4, 3 and 2 new documents


def test_an_index_of_ranges_is_read_as_one(tmp_path: Path) -> None:
    texts = texts_of(8, 40)
    dedup([texts], CONFIG, tmp_path / "a", index_out=tmp_path / "run", num_text_bytes=6_000_000_000)
    seal_index(tmp_path / "run", CONFIG)
    publish_index(tmp_path / "run", tmp_path / "index", "a")
    assert len(list((tmp_path / "index/a").glob("near-000-*.npy"))) > 1
    near = [edited(random.Random(n), text, 0.01) for n, text in enumerate(texts)]
    runs = known_runs(tmp_path / "index", CONFIG, "b")
    assert len(kept([near], dedup([near], CONFIG, tmp_path / "b", runs=runs))) <= 2


@pytest.mark.fault(6)
def test_a_damaged_index_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    index = tmp_path / "index"
    run(index, "a", texts_of(9, 3), tmp_path / "a")
    path = index / "a" / "near-003-000.npy"
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"near-003-000\.npy"):
            known_runs(index, CONFIG, "b")
    path.unlink()
    with pytest.raises(ArtifactError, match=r"near-003-000\.npy"):
        known_runs(index, CONFIG, "b")


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"schema": 99, "files": {}, "signatures": None})])
def test_an_index_without_a_readable_list_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/index.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"index\.json"):
        known_runs(tmp_path, CONFIG, "b")


def test_signatures_made_in_another_way_are_refused_with_both_ways(tmp_path: Path) -> None:
    index = tmp_path / "index"
    run(index, "a", texts_of(10, 3), tmp_path / "a")
    with pytest.raises(ConfigError, match=r"'ngram': 5.*'ngram': 7"):
        known_runs(index, DedupConfig(ngram=7), "b")
    assert len(known_runs(index, DedupConfig(near=False), "b")) == 1


def test_near_copies_are_not_looked_for_in_an_index_without_them(tmp_path: Path) -> None:
    run(tmp_path / "index", "a", texts_of(7, 3), tmp_path / "1", DedupConfig(near=False))
    with pytest.raises(ConfigError, match=r"built without near-duplicates.*--skip near-duplicates"):
        known_runs(tmp_path / "index", CONFIG, "b")


def test_a_file_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "index").touch()
    with pytest.raises(ConfigError, match="got the file"):
        known_runs(tmp_path / "index", CONFIG, "b")


def test_no_index_yet_is_an_empty_one(tmp_path: Path) -> None:
    assert known_runs(tmp_path / "none", CONFIG, "a") == []
