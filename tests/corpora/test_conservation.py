"""Nothing good is lost: every document that goes into a build is kept, dropped for a reason, or quarantined."""

import gzip
import json
import random
from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest

from corpora.build import BuildConfig, Source, build
from hanlm.artifact import open_artifact
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents


@cache
def words() -> list[str]:
    """Common words of jieba's dictionary."""
    lines = Path(str(files("jieba") / "dict.txt")).read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines]
    return [word for word, count, kind in rows if len(word) == 2 and int(count) > 300 and kind in ("n", "v", "a")]


def essay(seed: int, sentences: int = 14) -> str:
    """A document that is like no other and passes every filter of the preset web."""
    rng = random.Random(seed)

    def sentence() -> str:
        first, second, third, fourth, fifth = rng.sample(words(), 5)
        return f"{first}的{second}在{rng.randrange(2, 99)}年里{third}了，{fourth}是{fifth}。"

    return "\n".join("".join(sentence() for _ in range(3)) for _ in range(sentences // 3))


def write_inputs(folder: Path) -> tuple[set[str], int]:
    """Write good and bad records in many forms; return the ids of the good documents, and the number of records."""
    folder.mkdir()
    good: set[str] = set()
    records = 0
    with (folder / "主 要.jsonl").open("wb") as file:
        for number in range(120):
            good.add(f"a{number}")
            file.write(json.dumps({"id": f"a{number}", "text": essay(number)}, ensure_ascii=False).encode() + b"\n")
            records += 1
        for bad in (
            b"{",
            b'{"text": null}',
            b'{"no": 1}',
            b'{"text": 3}',
            b"[1]",
            b'{"text": "\\ud800"}',
            b'{"text": "\xff"}',
        ):
            file.write(bad + b"\n")
            records += 1
    with gzip.open(folder / "重复.jsonl.gz", "wt", encoding="utf-8") as file:
        for number in range(40):  # copies of every kind, all to be dropped
            near = essay(number).replace("。", "！", 1)
            file.write(json.dumps({"id": f"copy{number}", "text": essay(number)}, ensure_ascii=False) + "\n")
            file.write(json.dumps({"id": f"near{number}", "text": near}, ensure_ascii=False) + "\n")
            records += 2
    with (folder / "gbk.jsonl").open("wb") as file:
        for number in range(200, 220):
            good.add(f"g{number}")
            row = json.dumps({"id": f"g{number}", "text": essay(number)}, ensure_ascii=False)
            file.write(row.encode("gb18030") + b"\n")
            records += 1
    for number in range(300, 310):
        (folder / f"book{number}.txt").write_text(essay(number), encoding="utf-8")
        good.add(f"book{number}.txt")
        records += 1
    with (folder / "junk.jsonl").open("w", encoding="utf-8") as file:
        for text in (
            "",
            "短",
            "only English words here",
            "加微信领取大礼包 " * 40,
            "首页\n新闻\n登录\n" * 30,
            "かな文字の文章です。" * 20,
        ):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            records += 1
    return good, records


@pytest.mark.parametrize("task_bytes", [5_000, 1 << 30])
def test_every_document_in_comes_out_or_is_accounted_for(tmp_path: Path, task_bytes: int):
    good, records = write_inputs(tmp_path / "in")
    config = BuildConfig(
        input=(tmp_path / "in",),
        out=tmp_path / "out",
        preset="web",
        task_bytes=task_bytes,
        workers=1,
        valid_fraction=0.1,
    )
    corpus = build(config)
    counts = open_artifact(corpus, "corpus").manifest["counts"]
    dropped, quarantined = Counter(counts["documents_dropped"]), Counter(counts["quarantined"])
    assert quarantined == {
        "malformed_json": 1,
        "null_field": 1,
        "missing_field": 1,
        "wrong_type": 1,
        "not_an_object": 1,
        "lone_surrogate": 1,
        "invalid_utf8": 1,
    }
    assert counts["documents_in"] == records == counts["documents_kept"] + dropped.total() + quarantined.total()
    kept = [d for split in ("train", "valid") for d in read_documents([corpus], Quarantine(), split=split)]
    assert len(kept) == counts["documents_kept"]
    assert {d.id for d in kept} == good
    assert dropped["duplicate"] + dropped["near_duplicate"] == 80
    assert dropped.total() == 86


@pytest.mark.slow
def test_the_corpus_is_the_same_for_every_number_of_workers_and_the_same_documents_for_every_cut(tmp_path: Path):
    write_inputs(tmp_path / "in")

    def content(name: str, workers: int, task_bytes: int) -> dict[str, bytes]:
        out = build(
            BuildConfig(
                sources=(Source(path=tmp_path / "in"),),
                out=tmp_path / name,
                preset="web",
                workers=workers,
                task_bytes=task_bytes,
                valid_fraction=0.1,
            )
        )
        return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "manifest.json"}

    assert content("one", 1, 20_000) == content("two", 2, 20_000)
    content("three", 1, 7_000)
    texts = [
        [(d.id, d.text) for d in read_documents([tmp_path / name], Quarantine(), split="all")]
        for name in ("one", "three")
    ]
    assert sorted(texts[0]) == sorted(texts[1])
