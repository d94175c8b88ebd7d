"""``hanlm corpus build`` begun again: whatever stopped it, and whatever changed meanwhile."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpora.build import BuildConfig, build
from corpora.engine.slurm_queue import QueuedTask
from corpora.filters.plain import Length
from corpora.filters.score_config import ScoreConfig
from corpora.filters.settings import RuleSettings
from corpora.filters.word_list import WordList, _index
from hanlm.errors import ConfigError
from hanlm.publish import work_folder
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents


def content(corpus: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in corpus.iterdir() if p.name != "manifest.json"}


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    return path


class Stopped(BaseException):
    """Stands for a kill at one place of the build."""


def stop_in(monkeypatch: pytest.MonkeyPatch, target: str, config: BuildConfig) -> None:
    """Run a build that ends where ``target`` would be called."""

    def stop(*_: Any, **__: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(target, stop)
        with pytest.raises(Stopped):
            build(config)
    assert not config.out.exists()


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    "place", ["corpora.pipeline.write_report", "hanlm.publish.seal", "corpora.pipeline.publish_index"]
)
def test_a_build_that_ends_between_its_last_task_and_its_publication_loses_no_shard(
    tmp_path: Path, chinese_file: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    options: dict[str, Any] = {"index": tmp_path / "index"} if place.endswith("index") else {}
    undisturbed = content(build(BuildConfig(input=(chinese_file,), out=tmp_path / "a")))
    config = BuildConfig(input=(chinese_file,), out=tmp_path / "b", **options)
    stop_in(monkeypatch, place, config)
    assert content(build(config)) == undisturbed


def test_a_word_list_that_is_changed_between_two_tries_counts_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    terms = tmp_path / "terms.txt"
    terms.write_text("甲方\n")
    source = write_texts(tmp_path / "in.jsonl", [f"第{i}篇说的是{'甲方' if i % 2 else '乙方'}。" for i in range(20)])
    config = BuildConfig(
        input=(source,),
        out=tmp_path / "corpus",
        add=("word-list",),
        rules=RuleSettings(word_list=WordList(lists=(terms,), min_distinct=1)),
        valid_fraction=0.0,
    )
    stop_in(monkeypatch, "corpora.pipeline.write_report", config)
    terms.write_text("乙方\n")
    _index.cache_clear()  # as in another process
    texts = [document.text for document in read_documents([build(config)], Quarantine())]
    assert len(texts) == 10
    assert all("甲方" in text for text in texts)


def test_what_every_task_reads_is_made_once_and_not_again_by_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Jobs of a cluster may be reading it: a file written anew under them would be cut for a moment."""
    good = [f"第{i}章，讲山水与人情，文字平和，读来有味，令人想起从前在乡下的日子。" for i in range(80)]
    bad = [f"点击{i}下载！！赚钱{i * 7}元，加我{i}，马上领取大礼包{i * 3}，不要错过。" for i in range(80)]
    exam = write_texts(tmp_path / "exam.jsonl", ["下列各项中，属于会计核算基本前提的是哪一项内容？"])
    config = BuildConfig(
        input=(write_texts(tmp_path / "in.jsonl", good + bad),),
        out=tmp_path / "corpus",
        add=("score",),
        score=ScoreConfig(
            good=(write_texts(tmp_path / "good.jsonl", good),),
            bad=(write_texts(tmp_path / "bad.jsonl", bad),),
            keep_good_fraction=0.9,
        ),
        decontaminate=(exam,),
    )
    stop_in(monkeypatch, "corpora.pipeline.write_report", config)
    resources = work_folder(config.out) / "build" / "resources"
    made = {path.name: path.stat().st_mtime_ns for path in resources.iterdir()}
    assert made.keys() == {"evaluation.npz", "score.safetensors", "score.json"}
    stop_in(monkeypatch, "corpora.pipeline.write_report", config)
    assert {path.name: path.stat().st_mtime_ns for path in resources.iterdir()} == made
    build(config)


def test_a_score_learns_from_a_sample_that_is_cleaned_as_the_corpus_is_and_in_its_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    samples: list[str] = []

    def taking(config: ScoreConfig, sample: Any, path: Path, **_: Any) -> Any:
        samples.extend(sample)
        return Length()

    monkeypatch.setattr("corpora.read_stage.make_score_rule", taking)
    source = tmp_path / "in.jsonl"
    rows = [{"text": f"<p>第{i}篇。</p>"} for i in range(9)] + [{"text": "English.", "lang": "en"}]
    source.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    score = ScoreConfig(good=(source,), keep_fraction=0.5)
    build(BuildConfig(input=(source,), out=tmp_path / "corpus", add=("score", "markup"), score=score))
    assert sorted(samples) == [f"第{i}篇。" for i in range(9)]


@pytest.mark.fault(12)
def test_jobs_that_slurm_still_holds_are_not_forgotten_by_a_build_that_begins_anew(
    tmp_path: Path, chinese_file: Path, monkeypatch: pytest.MonkeyPatch
):
    """They would write among the files of tasks that run here."""
    config = BuildConfig(input=(chinese_file,), out=tmp_path / "corpus")
    stop_in(monkeypatch, "corpora.pipeline.write_report", config)
    listed = work_folder(config.out) / "build/stages/read/jobs/hanlm-1-read-2.json"
    listed.parent.mkdir()
    listed.write_text("[0]")
    task = QueuedTask(job="hanlm-1-read-2", index=0, state="RUNNING", reason="None")
    for answer, said in (([task], "still queued in Slurm"), (None, "does not answer now")):
        monkeypatch.setattr("corpora.engine.slurm.list_tasks", lambda _, answer=answer: answer)
        with pytest.raises(ConfigError, match=said):
            build(replace(config, min_chars=5))
        assert listed.is_file()
    monkeypatch.setattr("corpora.engine.slurm.list_tasks", lambda _: [])
    build(replace(config, min_chars=5))
