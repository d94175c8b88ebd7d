"""``hanlm corpus build``: what is kept, what is dropped and why, and that it is the same each time."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from corpora.build import BuildConfig, Source, build, plan
from hanlm.artifact import open_artifact
from hanlm.cli import main
from hanlm.errors import ArtifactError, ConfigError, InputError
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.text import in_valid_split, normalise


def write_lines(path: Path, records: Iterable[dict[str, Any] | str]) -> Path:
    lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def build_texts(tmp_path: Path, texts: Iterable[str], **options: Any) -> tuple[list[str], dict[str, Any]]:
    """Build a corpus out of the texts; return what it holds, held-out documents last, and its counts."""
    source = write_lines(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    out = build(BuildConfig(input=(source,), out=tmp_path / "corpus", overwrite=True, **options))
    documents = [d for split in ("train", "valid") for d in read(out, split)]
    return [d.text for d in documents], open_artifact(out, "corpus").manifest["counts"]


def read(corpus: Path, split: Any) -> list[Any]:
    if not list(corpus.glob(f"{split}-*")):
        return []
    return list(read_documents([corpus], Quarantine(), split=split))


def test_every_document_in_is_kept_dropped_or_quarantined(tmp_path: Path):
    good = [{"text": f"第{i}篇文章讲的是同一件事。"} for i in range(200)]
    odd = [
        good[3],
        {"text": " \n"},
        {"text": "English, not Chinese"},
        "{",
        '{"text": null}',
        '{"no": 1}',
        '{"text": 1}',
    ]
    source = write_lines(tmp_path / "in.jsonl", [*good, *odd])
    corpus = build(BuildConfig(input=(source,), out=tmp_path / "corpus"))
    counts = open_artifact(corpus, "corpus").manifest["counts"]
    assert counts["documents_kept"] == 200
    assert counts["documents_dropped"] == {"duplicate": 1, "empty": 1, "low_han_ratio": 1}
    assert counts["quarantined"] == {"malformed_json": 1, "missing_field": 1, "null_field": 1, "wrong_type": 1}
    assert counts["documents_in"] == 207 == 200 + 3 + 4
    listed = [json.loads(line) for line in (corpus / "quarantine.jsonl").read_text().splitlines()]
    assert [entry["line"] for entry in listed] == [204, 205, 206, 207]
    assert len(read(corpus, "train")) + len(read(corpus, "valid")) == 200
    domains = open_artifact(corpus, "corpus").manifest["domains"]
    assert domains["default"]["bytes_kept"] == counts["bytes_kept"]


def test_one_copy_of_a_repeated_document_is_always_kept(tmp_path: Path):
    texts, counts = build_texts(tmp_path, ["甲乙丙", "丁戊己", "甲乙丙\r\n", "\ufeff甲乙丙  "], valid_fraction=0.0)
    assert texts == ["甲乙丙", "丁戊己"]
    assert counts["documents_dropped"] == {"duplicate": 2}


def test_each_filter_has_its_reason(tmp_path: Path):
    texts, counts = build_texts(
        tmp_path,
        ["短", "长" * 30, "abcdefgh汉", "正好五个字"],
        min_chars=5,
        max_chars=20,
        valid_fraction=0.0,
    )
    assert texts == ["正好五个字"]
    assert counts["documents_dropped"] == {"low_han_ratio": 1, "too_long": 1, "too_short": 1}


def test_a_record_s_own_language_and_domain_win(tmp_path: Path):
    records = [
        {"text": "English text", "lang": "en", "domain": "docs"},
        {"text": "英文里有太多的汉字 text", "lang": "en"},
        {"text": "繁體中文", "lang": "zh-Hant"},
        {"text": "简体中文", "lang": "zh_CN"},
        {"text": "中文"},
    ]
    source = write_lines(tmp_path / "in.jsonl", records)
    config = BuildConfig(input=(source,), out=tmp_path / "corpus", domain="web", valid_fraction=0.0)
    labels = [(d.lang, d.domain) for d in read(build(config), "train")]
    assert labels == [("en", "docs"), ("zh-Hant", "web"), ("zh_CN", "web"), ("zh", "web")]
    assert open_artifact(tmp_path / "corpus", "corpus").manifest["counts"]["documents_dropped"] == {"high_han_ratio": 1}


def test_the_split_is_by_content_and_the_same_in_every_mix(tmp_path: Path, chinese_file: Path):
    small = build(BuildConfig(input=(chinese_file,), out=tmp_path / "a", valid_fraction=0.2))
    extra = write_lines(tmp_path / "more.jsonl", [{"text": f"另外一篇，第{i}号。"} for i in range(50)])
    large = build(BuildConfig(input=(extra, chinese_file), out=tmp_path / "b", valid_fraction=0.2))
    held_out = {d.text for d in read(small, "valid")}
    assert 40 < len(held_out) < 120
    assert all(in_valid_split(text, 0.2) for text in held_out)
    assert held_out < {d.text for d in read(large, "valid")}
    assert not held_out & {d.text for d in read(large, "train")}


def test_excluded_texts_stay_out_even_with_other_punctuation(tmp_path: Path):
    exam = write_lines(tmp_path / "exam.jsonl", [{"text": "这道题，出自考试！", "label": 1}])
    texts, counts = build_texts(
        tmp_path, ["这道题出自考试。", "这道题没有出自考试。"], exclude=(exam,), valid_fraction=0.0
    )
    assert texts == ["这道题没有出自考试。"]
    assert counts["documents_dropped"] == {"excluded": 1}


def test_lines_of_a_text_file_can_be_excluded(tmp_path: Path):
    (tmp_path / "exam.txt").write_text("第一题\n第二题\n", encoding="utf-8")
    texts, _ = build_texts(tmp_path, ["第二题", "第三题"], exclude=(tmp_path / "exam.txt",), valid_fraction=0.0)
    assert texts == ["第三题"]


def test_a_rerun_is_byte_identical_and_the_order_of_files_in_a_folder_is_fixed(tmp_path: Path):
    for name in ("b.txt", "a.md", "中 文.txt"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(f"{name}里的文字，一二三四五六七八九十", encoding="utf-8")
    runs = [build(BuildConfig(input=(tmp_path / "in",), out=tmp_path / name, valid_fraction=0.0)) for name in "xy"]
    first, second = ({p.name: p.read_bytes() for p in run.iterdir() if p.name != "manifest.json"} for run in runs)
    assert first == second
    assert open_artifact(runs[0], "corpus").hash == open_artifact(runs[1], "corpus").hash
    assert [d.id for d in read(runs[0], "train")] == ["a.md", "b.txt", "中 文.txt"]


def test_a_mix_of_labelled_sources_comes_from_a_configuration_file(tmp_path: Path, english_file: Path):
    (tmp_path / "news.txt").write_text("新闻第一条。\n新闻第二条。\n", encoding="utf-8")
    (tmp_path / "mix.yaml").write_text(
        f"sources:\n- {{path: {tmp_path / 'news.txt'}, domain: news, txt_unit: line}}\n"
        f"- {{path: {english_file}, lang: en}}\nvalid_fraction: 0.0\n",
        encoding="utf-8",
    )
    with pytest.raises(SystemExit) as stopped:
        main(["corpus", "build", "--config", str(tmp_path / "mix.yaml"), "--out", str(tmp_path / "corpus")])
    assert stopped.value.code == 0
    domains = open_artifact(tmp_path / "corpus", "corpus").manifest["domains"]
    assert {name: counts["documents_kept"] for name, counts in domains.items()} == {"news": 2, "notes": 200}


def test_the_keys_of_steps_in_a_configuration_file_reach_the_steps(tmp_path: Path):
    (tmp_path / "a.txt").write_text("请打电话13800138000找我，我姓王，住在北京路。", encoding="utf-8")
    (tmp_path / "c.yaml").write_text(
        f"input: [{tmp_path / 'a.txt'}]\nadd: [personal-data]\nvalid_fraction: 0\n"
        "personal_data: {types: [mobile], tags: {mobile: <电话>}}\nslurm: {sbatch_args: {account: a}}\n",
        encoding="utf-8",
    )
    with pytest.raises(SystemExit) as stopped:
        main(["corpus", "build", "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "corpus")])
    assert stopped.value.code == 0
    assert read(tmp_path / "corpus", "train")[0].text == "请打电话<电话>找我，我姓王，住在北京路。"


def test_shards_roll_over_and_read_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("corpora.steps.shards.SHARD_BYTES", 1000)
    texts = [f"第{i}篇，为了分成几个文件而写。" for i in range(50)]
    kept, _ = build_texts(tmp_path, texts, valid_fraction=0.0)
    assert kept == texts
    assert len(list((tmp_path / "corpus").glob("train-*.jsonl.zst"))) > 3


def test_building_from_a_corpus_keeps_both_of_its_splits(tmp_path: Path, chinese_file: Path):
    first = build(BuildConfig(input=(chinese_file,), out=tmp_path / "a", valid_fraction=0.2))
    second = build(BuildConfig(input=(first,), out=tmp_path / "b", valid_fraction=0.2))
    for split in ("train", "valid"):
        assert read(first, split) == read(second, split)


def test_what_is_kept_is_normalised(tmp_path: Path):
    raw = "　　第１行：\r\n“好”\x00的\u200b  \n\n\n\n\n完"
    texts, _ = build_texts(tmp_path, [raw], valid_fraction=0.0)
    assert texts == [normalise(raw)] == ["第1行：\n“好”的\n\n\n完"]


@pytest.mark.parametrize(
    "options",
    [
        {"input": ()},
        {"valid_fraction": 1.0},
        {"min_han_ratio": 1.5},
        {"max_quarantined": -0.1},
        {"min_chars": 9, "max_chars": 8},
    ],
)
def test_nonsense_is_refused_before_anything_is_read(tmp_path: Path, options: dict[str, Any]):
    with pytest.raises(ConfigError, match="expected"):
        BuildConfig(**({"input": (tmp_path,), "out": tmp_path / "out"} | options))


def test_a_plan_reads_nothing_and_says_what_would_happen(tmp_path: Path, chinese_file: Path):
    config = BuildConfig(sources=(Source(path=chinese_file),), out=tmp_path / "corpus", exclude=(chinese_file,))
    lines = plan(config)
    assert "1 files" in lines[0]
    assert str(chinese_file) in lines[0]
    assert not (tmp_path / "corpus").exists()


def test_a_finished_corpus_is_replaced_only_when_asked(tmp_path: Path, chinese_file: Path):
    config = BuildConfig(input=(chinese_file,), out=tmp_path / "corpus")
    build(config)
    with pytest.raises(ArtifactError, match="--overwrite"):
        build(config)


def test_files_of_a_folder_that_are_no_text_are_told_and_recorded(tmp_path: Path, chinese_file: Path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(chinese_file.read_bytes())
    (folder / "b.jsonl.xz").write_bytes(b"BZh")
    config = BuildConfig(input=(folder,), out=tmp_path / "corpus")
    assert any(".xz: 1" in line for line in plan(config))
    assert open_artifact(build(config), "corpus").manifest["files_passed_over"] == {".xz": 1}


@pytest.mark.parametrize("name", ["exclude", "decontaminate"])
def test_a_plan_refuses_side_files_that_are_not_there(tmp_path: Path, chinese_file: Path, name: str):
    config = BuildConfig(input=(chinese_file,), out=tmp_path / "corpus", **{name: (tmp_path / "nope.csv",)})
    with pytest.raises(InputError, match=r"nope\.csv does not exist"):
        plan(config)


def test_a_side_file_that_changed_since_a_stopped_try_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    texts = [f"这是第{name}篇文章，讲的是不同的事情。" for name in "甲乙丙丁"]
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    source, banned, out = tmp_path / "in.jsonl", tmp_path / "banned.txt", tmp_path / "corpus"
    source.write_text("\n".join([*lines, "not json"]), encoding="utf-8")
    banned.write_text(texts[0], encoding="utf-8")
    with pytest.raises(InputError, match="1 of 5"):  # after every task was completed
        build(BuildConfig(input=(source,), out=out, exclude=(banned,), max_quarantined=0.0, valid_fraction=0.0))
    banned.write_text("\n".join(texts[:2]), encoding="utf-8")
    build(BuildConfig(input=(source,), out=out, exclude=(banned,), max_quarantined=1.0, valid_fraction=0.0))
    assert {d.text for d in read_documents([out], Quarantine())} == set(texts[2:])
    assert "what it completed is removed" in capsys.readouterr().err


def test_a_corpus_with_nothing_held_out_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "in.txt").write_text("只有一篇文章，讲的是天气。", encoding="utf-8")
    build(BuildConfig(input=(tmp_path / "in.txt",), out=tmp_path / "a"))
    assert "nothing was held out" in capsys.readouterr().err
    build(BuildConfig(input=(tmp_path / "in.txt",), out=tmp_path / "b", valid_fraction=0.0))
    assert "nothing was held out" not in capsys.readouterr().err


def test_a_corpus_is_not_written_among_the_texts_that_it_is_made_of(tmp_path: Path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("一篇文章。", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"outside of the input .*texts/corpus"):
        build(BuildConfig(input=(tmp_path / "texts",), out=tmp_path / "texts/corpus"))
    assert build(BuildConfig(input=(tmp_path / "texts/a.txt",), out=tmp_path / "texts/corpus")).is_dir()


@pytest.mark.parametrize("lang", ["zh", "zh_CN", "zho", "chi", "Chinese", "cn", "cmn_Hani", "yue"])
def test_whatever_a_data_set_calls_it_chinese_is_chinese(tmp_path: Path, lang: str):
    record = {"text": "一篇中文文章。", "lang": lang}
    (tmp_path / "in.jsonl").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    out = build(BuildConfig(input=(tmp_path / "in.jsonl",), out=tmp_path / "corpus", valid_fraction=0.0))
    assert open_artifact(out, "corpus").manifest["counts"]["documents_kept"] == 1


def test_a_build_that_drops_most_documents_says_which_step_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    build_texts(tmp_path, ["第一篇文章。", "English one", "English two"], valid_fraction=0.0)
    assert "more by han-ratio than by any other step" in capsys.readouterr().err
    build_texts(tmp_path, ["第一篇文章。", "第二篇文章。", "English two"], valid_fraction=0.0)
    assert "any other step" not in capsys.readouterr().err
