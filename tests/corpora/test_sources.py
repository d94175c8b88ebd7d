"""Every format gives its documents with ids, sources and labels; what cannot be read is counted and set aside."""

import bz2
import gzip
import json
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from slices import read_all, texts_of

from corpora.sources.listing import passed_over, survey
from corpora.sources.slices import list_slices
from corpora.sources.source import Fields, Source
from hanlm.cli import main
from hanlm.errors import ConfigError, InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document, read_documents

TEXT = "早上下了一場大雨，孩子們撐著傘。\n他打開信，讀了兩遍。\n"


def record(text: Any = "好的", **labels: Any) -> bytes:
    return json.dumps({"text": text, **labels}, ensure_ascii=False).encode() + b"\n"


def packed(raw: bytes, suffix: str) -> bytes:
    return {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}[suffix](raw)


@pytest.mark.parametrize("packing", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".txt", ".md"])
def test_every_text_format_is_read_in_every_packing_as_the_other_stages_read_it(
    tmp_path: Path, ending: str, packing: str
):
    raw = record("一") + record("二", id="b", group="g", lang="en")
    path = tmp_path / f"文 件{ending}{packing}"
    path.write_bytes(packed(raw, packing))
    documents, quarantine, _ = read_all(Source(path=path, domain="d", lang="zh"))
    assert documents == list(read_documents([path], quarantine, domain="d", lang="zh"))
    if ending.startswith(".json"):
        assert documents[0] == Document("文 件:1", "一", "d", "zh", path.name, "")
        assert documents[1] == Document("b", "二", "d", "en", path.name, "", "g")


@pytest.mark.parametrize("encoding", ["gb18030", "big5hkscs", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("packing", ["", ".bz2"])
def test_files_in_another_encoding_are_converted_while_they_are_read(tmp_path: Path, encoding: str, packing: str):
    (tmp_path / f"a.txt{packing}").write_bytes(packed(TEXT.encode(encoding), packing))
    lines = b"".join(record(line) for line in TEXT.splitlines()).decode()
    (tmp_path / f"b.jsonl{packing}").write_bytes(packed(lines.encode(encoding), packing))
    whole = json.dumps([{"text": line} for line in TEXT.splitlines()], ensure_ascii=False)
    (tmp_path / f"c.json{packing}").write_bytes(packed(whole.encode(encoding), packing))
    expected = TEXT.splitlines()
    assert texts_of(Source(path=tmp_path)) == [TEXT.rstrip("\n"), *expected, *expected]


def test_an_encoding_that_is_named_is_taken_and_an_unknown_one_is_refused(tmp_path: Path):
    path = tmp_path / "x.txt"
    path.write_bytes("é".encode("latin-1"))
    assert texts_of(Source(path=path, encoding="latin-1")) == ["é"]
    assert read_all(Source(path=path))[1].counts == {"invalid_utf8": 1}
    with pytest.raises(ConfigError, match="klingon"):
        Source(path=path, encoding="klingon")


@pytest.mark.fault(13)
@pytest.mark.parametrize("encoding", ["gb18030", "big5hkscs", "utf-16-le"])
def test_bad_bytes_of_another_encoding_cost_their_line_alone(tmp_path: Path, encoding: str):
    bad = b"\x00\xdc" if encoding == "utf-16-le" else b"\x81\x20"
    name = {"gb18030": "gb18030", "big5hkscs": "big5"}.get(encoding, "utf16")
    lines = [record(f"第{i}行文字寫在這裡").decode().encode(encoding) for i in range(30)]
    lines[7] = bad + lines[7]
    (tmp_path / "x.jsonl").write_bytes(b"".join(lines))
    for unit_path in ("x.jsonl", "x.txt"):
        path = (tmp_path / "x.jsonl").rename(tmp_path / unit_path)
        documents, quarantine, _ = read_all(Source(path=path, txt_unit="line"), quarantine_path=tmp_path / "q")
        assert len(documents) == 29
        assert quarantine.counts == {f"invalid_{name}": 1}
        assert quarantine.num_seen == 30
        assert json.loads((tmp_path / "q").read_text())["line"] == 8
        path.rename(tmp_path / "x.jsonl")


@pytest.mark.fault(13)
@pytest.mark.fault(14)
@pytest.mark.fault(17)
def test_every_record_is_given_or_set_aside_with_its_reason(tmp_path: Path):
    bad = {
        b'{"text": "\xff"}\n': "invalid_utf8",
        b'{"text": "a\n': "malformed_json",
        b"[]\n": "not_an_object",
        b"{}\n": "missing_field",
        b'{"text": null}\n': "null_field",
        b'{"text": 7}\n': "wrong_type",
        b'{"text": "\\udc00"}\n': "lone_surrogate",
        b'{"text": "\0"}\n': "malformed_json",
    }
    (tmp_path / "x.jsonl").write_bytes(b"".join(record() + line for line in bad) + record("a\0b"))
    documents, quarantine, _ = read_all(Source(path=tmp_path / "x.jsonl"))
    assert len(documents) == len(bad) + 1
    assert sorted(quarantine.counts.elements()) == sorted(bad.values())
    assert quarantine.num_seen == len(documents) + quarantine.num_quarantined


@pytest.mark.fault(15)
@pytest.mark.parametrize("packing", [".gz", ".bz2", ".zst"])
def test_a_truncated_or_damaged_packed_file_is_an_error_and_several_streams_are_read_whole(
    tmp_path: Path, packing: str
):
    path = tmp_path / f"x.jsonl{packing}"
    one = packed(b"".join(record(os.urandom(50).hex()) for _ in range(3000)), packing)
    path.write_bytes(one * 3)
    assert len(texts_of(Source(path=path))) == 9000
    for raw in (
        one[: len(one) // 2],
        one + one[:-20],
        one + b"rubbish that is no stream",
        one + one[:9] + b"\0" + one[9:],
    ):
        path.write_bytes(raw)
        with pytest.raises(InputError, match="truncated or damaged"):
            read_all(Source(path=path))
        with pytest.raises(InputError, match="truncated or damaged"):
            list(read_documents([path], Quarantine()))


@pytest.mark.fault(16)
def test_nothing_to_read_is_an_error_that_says_what_is_readable(tmp_path: Path):
    (tmp_path / "空 文件.txt").touch()
    with pytest.raises(InputError, match="is empty"):
        read_all(Source(path=tmp_path / "空 文件.txt"))
    with pytest.raises(InputError, match=r"no non-empty file ending in .*\.epub"):
        read_all(Source(path=tmp_path))
    with pytest.raises(InputError, match="does not exist"):
        read_all(Source(path=tmp_path / "none"))
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(InputError, match="name its `format`"):
        read_all(Source(path=tmp_path / "a.docx"))
    assert texts_of(Source(path=tmp_path / "a.docx", format="txt")) == ["x"]
    assert passed_over(Source(path=tmp_path)) == {".docx": 1, "empty": 1}
    (tmp_path / "b.epub").write_bytes(b"x")
    told = survey(Source(path=tmp_path))
    assert "would read 1 files" in told[0]
    assert ".docx: 1" in told[1]
    assert survey(Source(set="skypile")) == ["would stream hf:Skywork/SkyPile-150B"]
    with pytest.raises(ConfigError, match="`path` or a `set`"):
        Source()


@pytest.mark.fault(17)
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le"])
def test_a_100_mb_line_is_set_aside_in_bounded_memory(tmp_path: Path, encoding: str):
    path = tmp_path / "x.jsonl.zst"
    with zstandard.open(path, "wb") as out:
        out.write((TEXT.replace("\n", "") + "\n").encode(encoding))
        for _ in range(100):
            out.write(("字" * 500_000).encode(encoding))
        out.write("\n".encode(encoding) + record("好").decode().encode(encoding))
    tracemalloc.start()
    documents, quarantine, _ = read_all(Source(path=path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [d.text for d in documents] == ["好"]
    assert quarantine.counts == {"malformed_json": 1, "too_long": 1}
    assert peak < 250e6


def test_columns_are_mapped_joined_and_reached_into(tmp_path: Path):
    rows = [
        {
            "title": "题",
            "body": "正文",
            "meta": {"url": "http://a/1", "cat": "news"},
            "lic": "CC0",
            "l": "zh-Hant",
            "p": 7,
        },
        {"title": None, "body": "无题", "meta": {"url": "http://a/2", "cat": None}, "lic": None, "l": None, "p": 7},
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    fields = Fields(text=("title", "body"), id="meta.url", domain="meta.cat", license="lic", lang="l", group="p")
    for name in ("x.jsonl", "x.parquet"):
        documents = read_all(Source(path=tmp_path / name, fields=fields, domain="web", lang="zh", license="MIT"))[0]
        assert documents == [
            Document("http://a/1", "题\n\n正文", "news", "zh-Hant", name, "CC0", "7"),
            Document("http://a/2", "无题", "web", "zh", name, "MIT", "7"),
        ]


def test_a_column_reaches_through_a_list_of_records(tmp_path: Path):
    row = {"段落": [{"行号": 0, "内容": "一"}, {"行号": 1, "内容": "二"}], "文件名": "书"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row), encoding="utf-8")
    fields = Fields(text=("段落.内容",), id="文件名")
    (document,) = read_all(Source(path=tmp_path, fields=fields))[0]
    assert (document.id, document.text) == ("书", "一\n二")


@pytest.mark.fault(14)
def test_a_missing_column_names_the_ones_there_are(tmp_path: Path):
    (tmp_path / "x.jsonl").write_bytes(record(url="u") * 3)
    quarantine = read_all(Source(path=tmp_path, fields=Fields(text=("content",))))[1]
    with pytest.raises(InputError, match=r"expected a column 'content'.*has the columns text, url"):
        quarantine.check()
    assert read_all(Source(path=tmp_path, fields=Fields(id="uri")))[1].counts == {"missing_field": 3}
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "y.parquet")
    with pytest.raises(InputError, match=r"expected a column 'text' in .*y\.parquet, got \['body'\]"):
        read_all(Source(path=tmp_path / "y.parquet"))


@pytest.mark.fault(14)
def test_a_list_of_records_one_of_which_lacks_a_column_lacks_it(tmp_path: Path):
    """Its placeholder would be spelled into the label, with an address that is another one in each process."""
    (tmp_path / "x.jsonl").write_bytes(record(text="甲", tags=[{"name": "a"}, {"other": "b"}]))
    for fields in (Fields(domain="tags.name"), Fields(text=("tags.name",))):
        documents, quarantine, _ = read_all(Source(path=tmp_path, fields=fields))
        assert (documents, quarantine.counts) == ([], {"missing_field": 1})


@pytest.mark.fault(13)
def test_a_row_of_a_table_that_is_not_utf8_is_set_aside_alone(tmp_path: Path):
    raw = pa.array([f"第{i}行".encode() if i != 1500 else b"\xff\xfe" for i in range(3000)], pa.binary())
    table = pa.table({"text": pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())})
    pq.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_file(str(tmp_path / "y.arrow"), table.schema) as out:
        out.write_table(table)
    for name in ("x.parquet", "y.arrow"):
        documents, quarantine, _ = read_all(Source(path=tmp_path / name), quarantine_path=tmp_path / "q")
        assert len(documents) == 2999
        assert quarantine.counts == {"invalid_utf8": 1}
        assert quarantine.num_seen == 3000
        assert json.loads((tmp_path / "q").read_text())["line"] == 1501


@pytest.mark.parametrize("kind", [pa.ipc.new_file, pa.ipc.new_stream])
def test_arrow_files_and_streams_are_read_and_damaged_ones_are_errors(tmp_path: Path, kind: Any):
    path = tmp_path / "x.arrow"
    table = pa.table({"text": [f"第{i}行" for i in range(2500)]})
    with kind(str(path), table.schema) as out:
        out.write_table(table)
    documents = read_all(Source(path=path))[0]
    assert [(d.id, d.text) for d in documents] == [(f"x:{i + 1}", f"第{i}行") for i in range(2500)]
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="damaged or not Arrow"):
        read_all(Source(path=path))


def test_saved_data_sets_are_read_from_their_folders(tmp_path: Path):
    rows = [{"text": f"第{i}篇", "domain": "news"} for i in range(50)]
    train = datasets.Dataset.from_list(rows)
    train.save_to_disk(str(tmp_path / "one"), num_shards=3)
    datasets.DatasetDict(train=train, test=train.select(range(5))).save_to_disk(str(tmp_path / "两 个"))
    documents, quarantine, slices = read_all(Source(path=tmp_path / "one"))
    assert [d.text for d in documents] == [row["text"] for row in rows]
    assert {d.domain for d in documents} == {"news"}
    assert (len(slices), quarantine.num_seen) == (3, 50)
    assert len(read_all(Source(path=tmp_path / "两 个"))[0]) == 55
    assert len(read_all(Source(path=tmp_path))[0]) == 105
    next((tmp_path / "one").glob("*.arrow")).unlink()
    with pytest.raises(InputError, match="lacks its file"):
        read_all(Source(path=tmp_path / "one"))


def test_a_label_may_be_taken_from_no_column(tmp_path: Path):
    line = json.dumps({"text": "好", "domain": "https://a.cn/1", "lang": "zh"}).encode()
    (tmp_path / "a.jsonl").write_bytes(line + b"\n")
    found, *_ = read_all(Source(path=tmp_path, domain="web", fields=Fields(domain=None)))
    assert [(d.domain, d.lang) for d in found] == [("web", "zh")]


def test_a_data_set_is_streamed_by_name(tmp_path: Path):
    folder = tmp_path / "org" / "name"
    (folder / "data").mkdir(parents=True)
    for shard in range(2):
        lines = b"".join(record(f"{shard}-{i}") for i in range(4))
        (folder / f"data/train-{shard}.jsonl").write_bytes(lines)
    (folder / "data/test.jsonl").write_bytes(record("held out"))
    documents, quarantine, slices = read_all(Source(path=Path(f"hf:{folder}"), license="MIT"))
    assert [d.text for d in documents] == [f"{shard}-{i}" for shard in range(2) for i in range(4)]
    assert len({d.id for d in documents}) == 8
    assert {d.license for d in documents} == {"MIT"}
    assert (len(slices), quarantine.num_seen) == (2, 8)
    assert texts_of(Source(path=Path(f"hf:{folder}:default:test"))) == ["held out"]
    with pytest.raises(InputError, match="check the name, its config and split"):
        read_all(Source(path=Path(f"hf:{folder}::nosplit")))
    with pytest.raises(ConfigError, match="hf:NAME"):
        read_all(Source(path=Path("hf:a:b:c:d")))


def test_names_that_are_not_utf8_are_spelled_out(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"\xce\xc4")
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.jsonl")).write_bytes(record("好") + b"{\n")
    documents, quarantine, _ = read_all(Source(path=tmp_path), quarantine_path=tmp_path / "q")
    assert documents[0].source == r"\udcce\udcc4/\udcff.jsonl"
    assert quarantine.counts == {"malformed_json": 1}
    assert b"udcff" in (tmp_path / "q").read_bytes()


def test_slices_and_sources_travel_to_other_processes(tmp_path: Path):
    (tmp_path / "x.txt").write_text("好", encoding="utf-8")
    source = Source(path=tmp_path, fields=Fields(text=("a", "b")), encoding="gbk")
    slices = list_slices([source], 100)
    assert pickle.loads(pickle.dumps((source, slices))) == (source, slices)


def test_lines_of_one_neighbourhood_are_one_group(tmp_path: Path):
    (tmp_path / "x.txt").write_text("行\n" * 2500, encoding="utf-8")
    documents = read_all(Source(path=tmp_path, txt_unit="line"), 1000)[0]
    assert {d.group for d in documents} == {"x.txt:0", "x.txt:1", "x.txt:2"}
    assert read_all(Source(path=tmp_path, txt_unit="file"))[0][0].group == ""


def test_the_sources_of_a_configuration_file_name_columns_and_encodings(tmp_path: Path):
    (tmp_path / "x.jsonl").write_bytes(b'{"t": "a", "b": "c"}\n')
    config = tmp_path / "c.yaml"
    source = (
        f"{{path: {tmp_path}/x.jsonl, encoding: gbk, fields: {{text: [t, b], id: b}}, license: MIT, format: jsonl}}"
    )
    config.write_text(f"out: {tmp_path}/out\nsources: [{source}]\n")
    with pytest.raises(SystemExit) as done:
        main(["corpus", "build", "--config", str(config), "--dry-run"])
    assert done.value.code == 0
    config.write_text(f"out: {tmp_path}/out\nsources: [{source.replace('text:', 'txet:')}]\n")
    with pytest.raises(SystemExit) as done:
        main(["corpus", "build", "--config", str(config), "--dry-run"])
    assert done.value.code == 2
