"""Strict reading: bad records are quarantined with a reason, neighbours are kept, memory is bounded."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from hanlm.errors import InputError
from hanlm.records import Document, Quarantine, list_files, passed_over, read_documents, read_json_lines

GOOD = '{"id": "a", "text": "好的", "domain": "news", "lang": "zh"}'


def texts_of(paths: list[Path], quarantine: Quarantine | None = None, **options: object) -> list[str]:
    return [d.text for d in read_documents(paths, quarantine or Quarantine(), **options)]  # type: ignore[arg-type]


@pytest.mark.fault(13)
@pytest.mark.fault(14)
@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "\xff\xfe"}', "invalid_utf8"),
        (b'{"text": "cut', "malformed_json"),
        (b'{"text": "a\x00b"}', "malformed_json"),
        (b'{"text": NaN}', "malformed_json"),
        (b"[" * 5000, "malformed_json"),
        (b'["text"]', "not_an_object"),
        (b'{"txet": "a"}', "missing_field"),
        (b'{"text": null}', "null_field"),
        (b'{"text": 7}', "wrong_type"),
        (b'{"text": "\\ud800"}', "lone_surrogate"),
    ],
)
def test_a_bad_json_line_is_quarantined_and_its_neighbours_are_kept(tmp_path: Path, line: bytes, reason: str):
    file = tmp_path / "x.jsonl"
    file.write_bytes(GOOD.encode() + b"\n" + line + b"\n\n" + GOOD.encode())
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        assert texts_of([file], quarantine) == ["好的", "好的"]
    assert quarantine.counts == {reason: 1}
    assert quarantine.num_seen == 3
    entry = json.loads((tmp_path / "q.jsonl").read_text())
    assert (entry["source"], entry["line"], entry["reason"]) == (str(file), 2, reason)
    assert entry["excerpt"]


@pytest.mark.fault(13)
@pytest.mark.parametrize("unit", ["file", "line", "paragraph"])
def test_a_bad_byte_in_a_text_file_costs_only_its_line(tmp_path: Path, unit: str):
    file = tmp_path / "x.txt"
    file.write_bytes("一\n\n二\n".encode() + b"\xff\n" + "三\r\n".encode())
    quarantine = Quarantine()
    expected = {"file": ["一\n\n二\n三"], "line": ["一", "二", "三"], "paragraph": ["一", "二\n三"]}
    assert texts_of([file], quarantine, txt_unit=unit) == expected[unit]
    assert quarantine.counts == {"invalid_utf8": 1}
    assert quarantine.num_seen == 4


@pytest.mark.fault(17)
def test_a_100_mb_line_is_quarantined_in_bounded_memory(tmp_path: Path):
    file = tmp_path / "x.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=1) as out:
        out.write(GOOD.encode() + b'\n{"text": "')
        for _ in range(100):
            out.write(b"a" * 1_000_000)
        out.write(b'"}\n' + GOOD.encode())
    quarantine = Quarantine()
    tracemalloc.start()
    assert texts_of([file], quarantine) == ["好的", "好的"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert quarantine.counts == {"too_long": 1}
    assert peak < 150e6


@pytest.mark.fault(15)
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, suffix: str):
    plain = "".join(f'{{"text": "line {i} {hash(str(i))}"}}\n' for i in range(20_000)).encode()
    packed = gzip.compress(plain) if suffix == ".gz" else zstandard.compress(plain)
    file = tmp_path / f"x.jsonl{suffix}"
    file.write_bytes(packed)
    assert len(texts_of([file])) == 20_000
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"x\.jsonl"):
        texts_of([file])


@pytest.mark.fault(15)
def test_several_compressed_frames_in_one_file_are_all_read(tmp_path: Path):
    file = tmp_path / "x.jsonl.zst"
    file.write_bytes(zstandard.compress(GOOD.encode() + b"\n") * 3)
    assert texts_of([file]) == ["好的"] * 3
    file.with_suffix(".gz").write_bytes(gzip.compress(GOOD.encode() + b"\n") * 3)
    assert texts_of([file.with_suffix(".gz")]) == ["好的"] * 3


@pytest.mark.fault(16)
def test_missing_and_empty_paths_are_errors(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        list_files([tmp_path / "none.txt"])
    (tmp_path / "empty.txt").touch()
    with pytest.raises(InputError, match="is empty"):
        list_files([tmp_path / "empty.txt"])
    with pytest.raises(InputError, match="no non-empty file"):
        list_files([tmp_path])
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(InputError, match="ending in"):
        list_files([tmp_path / "a.docx"])


def test_a_folder_is_read_in_sorted_order_without_what_is_not_data(tmp_path: Path):
    for name in (
        "b.txt",
        "a.md",
        "中文 文件.txt",
        "sub/c.txt",
        ".hidden.txt",
        "x.work/d.txt",
        "quarantine.jsonl",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("文")
    names = [str(f.relative_to(tmp_path)) for f in list_files([tmp_path])]
    assert names == ["a.md", "b.txt", "sub/c.txt", "中文 文件.txt"]


def test_json_lists_and_missing_labels_are_understood(tmp_path: Path):
    file = tmp_path / "x.json"
    file.write_text('[{"text": "甲", "id": 3}, 4, {"text": "乙"}]', encoding="utf-8")
    quarantine = Quarantine()
    documents = list(read_documents([file], quarantine, domain="wiki", lang="zh"))
    assert documents == [
        Document("3", "甲", "wiki", "zh", "x.json", ""),
        Document("x:3", "乙", "wiki", "zh", "x.json", ""),
    ]
    assert quarantine.counts == {"not_an_object": 1}


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path):
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    (tmp_path / "y.txt").write_bytes(b"\xef\xbb\xbf" + "甲".encode())
    assert texts_of([tmp_path / "x.jsonl", tmp_path / "y.txt"]) == ["好的", "甲"]


@pytest.mark.fault(14)
def test_too_many_bad_records_fail_the_run_with_the_reasons(tmp_path: Path):
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join([GOOD] * 19 + ["{"]))
    quarantine = Quarantine()
    list(read_json_lines(file, quarantine))
    quarantine.check(0.05)
    with pytest.raises(InputError, match="malformed_json: 1"):
        quarantine.check(0.04)


def test_required_fields_are_checked_and_others_pass_through(tmp_path: Path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"messages": [1], "n": 2}\n{"messages": null}\n')
    quarantine = Quarantine()
    assert list(read_json_lines(file, quarantine, ("messages",))) == [{"messages": [1], "n": 2}]
    assert quarantine.counts == {"null_field": 1}


def test_a_text_file_too_large_for_one_document_says_which_unit_to_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hanlm.text_lines.MAX_LINE_BYTES", 100)
    (tmp_path / "x.txt").write_text("文字\n" * 100)
    with pytest.raises(InputError, match="--txt-unit paragraph or line"):
        texts_of([tmp_path / "x.txt"])
    assert len(texts_of([tmp_path / "x.txt"], txt_unit="line")) == 100


def test_parquet_rows_are_documents_and_null_text_is_quarantined(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["甲", None, "乙"], "domain": ["a", "b", None]}), file)
    quarantine = Quarantine()
    documents = list(read_documents([file], quarantine))
    assert [(d.id, d.text, d.domain) for d in documents] == [("x:1", "甲", "a"), ("x:3", "乙", "default")]
    assert quarantine.counts == {"null_field": 1}
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"x\.parquet is damaged"):
        texts_of([file])


@pytest.mark.fault(4)
def test_a_disk_that_is_full_while_quarantining_is_not_blamed_on_the_parquet_file(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": pa.array([None] * 1000, pa.string())}), tmp_path / "x.parquet")
    with pytest.raises(OSError, match="No space left"), Quarantine(Path("/dev/full")) as quarantine:
        list(read_documents([tmp_path / "x.parquet"], quarantine))


def test_an_artifact_that_is_no_text_is_refused(tmp_path: Path):
    from hanlm.publish import publish

    with publish(tmp_path / "model", kind="model", config={}) as draft:
        (draft.folder / "config.json").write_text('{"text": "not a corpus"}')
    with pytest.raises(InputError, match="got a model"):
        texts_of([tmp_path / "model"])


@pytest.mark.fault(6)
def test_a_flipped_bit_in_a_dataset_is_found_before_it_is_read(tmp_path: Path):
    from hanlm.errors import ArtifactError
    from hanlm.publish import publish

    with publish(tmp_path / "data", kind="dataset", config={}) as draft:
        (draft.folder / "x.jsonl").write_text(GOOD)
    assert texts_of([tmp_path / "data"]) == ["好的"]
    (tmp_path / "data/x.jsonl").write_text(GOOD.replace("好", "坏"))
    with pytest.raises(ArtifactError, match=r"x\.jsonl fails its checksum"):
        texts_of([tmp_path / "data"])


@pytest.mark.parametrize(
    "content", ['{\n "text": "甲"\n}', '{"text": "甲"}', '[\n{"text": "甲"}]', '\n{"text": "甲"}\n']
)
def test_a_json_file_may_hold_a_list_an_object_or_lines(tmp_path: Path, content: str):
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    assert texts_of([tmp_path / "x.json"]) == ["甲"]


def test_what_a_folder_holds_besides_texts_is_counted_and_endings_may_be_capitals(tmp_path: Path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    for name, content in {"a.txt": "一", "B.TXT": "二", "c.jsonl.xz": "x", "e.txt": "", "README": "x"}.items():
        (folder / name).write_text(content, encoding="utf-8")
    (elsewhere / "d.txt").write_text("三", encoding="utf-8")
    (folder / "link").symlink_to(elsewhere)
    assert texts_of([folder]) == ["二", "一"]
    assert passed_over([folder]) == {".xz": 1, "empty": 1, "no ending": 1, "linked folder": 1}
    assert passed_over([folder / "a.txt"]) == {}


def test_files_of_one_name_in_two_folders_give_documents_with_names_of_their_own(tmp_path: Path):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "x.txt").write_text(part, encoding="utf-8")
        (tmp_path / part / "y.jsonl").write_text('{"text": "z"}\n', encoding="utf-8")
    found = list(read_documents([tmp_path], Quarantine()))
    assert [d.id for d in found] == ["a/x.txt", "a/y:1", "b/x.txt", "b/y:1"]
    assert [d.source for d in found] == ["a/x.txt", "a/y.jsonl", "b/x.txt", "b/y.jsonl"]


@pytest.mark.fault(14)
def test_the_lines_of_a_long_text_do_not_make_up_for_records_that_are_all_bad(tmp_path: Path):
    (tmp_path / "book.txt").write_text("一行文字。\n" * 1000, encoding="utf-8")
    (tmp_path / "news.jsonl").write_text('{"content": "正文在别的字段里"}\n' * 3, encoding="utf-8")
    quarantine = Quarantine()
    assert len(texts_of([tmp_path], quarantine)) == 1
    with pytest.raises(InputError, match=r"got 3 of 4.*rename the field"):
        quarantine.check()


@pytest.mark.fault(13)
def test_bad_lines_of_a_text_are_a_share_of_its_lines(tmp_path: Path):
    (tmp_path / "book.txt").write_bytes(("一行文字。\n" * 99).encode() + b"\xff\n")
    quarantine = Quarantine()
    assert len(texts_of([tmp_path / "book.txt"], quarantine)) == 1
    quarantine.check(0.01)
    with pytest.raises(InputError, match=r"0\.9% unreadable lines, got 1 of 100"):
        quarantine.check(0.009)


def test_what_two_quarantines_counted_adds_up(tmp_path: Path):
    (tmp_path / "book.txt").write_bytes(b"\xff\n" + "一行文字。\n".encode() * 9)
    part, whole = Quarantine(), Quarantine()
    texts_of([tmp_path / "book.txt"], part)
    whole.absorb(part.summary(), tmp_path / "none")
    whole.absorb(part.summary(), tmp_path / "none")
    assert (whole.num_seen, whole.num_lines, whole.num_bad_lines, whole.num_texts) == (20, 20, 2, 2)
