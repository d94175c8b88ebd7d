"""Slices: together they give exactly what the whole file gives, whatever their size."""

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slices import LARGE, read_all

from corpora.sources.slices import list_slices
from corpora.sources.source import Source
from hanlm.quarantine import Quarantine
from hanlm.records import Document, read_documents


def outcome(source: Source, slice_bytes: int) -> tuple[list[Document], dict[str, int], int]:
    documents, quarantine, _ = read_all(source, slice_bytes)
    return documents, dict(quarantine.counts), quarantine.num_seen


LINES = st.lists(
    st.sampled_from(
        ["", " ", "一二三", '{"text": "天地"}', '{"text": null}', "{", '{"text": "x", "id": "7"}', "x" * 50]
    ),
    max_size=40,
)


@settings(max_examples=120, deadline=None)
@given(
    lines=LINES,
    slice_bytes=st.integers(1, 200),
    end=st.sampled_from(["\n", "\r\n"]),
    has_last_end=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "big5hkscs", "utf-16"]),
    suffix=st.sampled_from([".jsonl", ".txt"]),
)
def test_the_slices_of_lines_give_what_the_whole_file_gives(
    lines: list[str], slice_bytes: int, end: str, has_last_end: bool, encoding: str, suffix: str
):
    text = end.join(lines) + (end if has_last_end else "")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x y{suffix}"
        path.write_bytes(text.encode(encoding))
        if not path.stat().st_size:
            return
        source = Source(path=path, txt_unit="line", encoding=None if encoding.startswith("utf") else encoding)
        whole = outcome(source, LARGE)
        assert outcome(source, slice_bytes) == whole
        if encoding.startswith("utf-8"):
            plain = Quarantine()
            assert list(read_documents([path], plain, txt_unit="line")) == whole[0]
            assert (dict(plain.counts), plain.num_seen) == whole[1:]


@pytest.mark.parametrize("slice_bytes", [1, 100, 5000, LARGE])
def test_the_row_groups_of_a_parquet_file_are_its_slices(tmp_path: Path, slice_bytes: int):
    path = tmp_path / "x.parquet"
    rows = [{"text": f"第{i}篇", "domain": "a"} for i in range(95)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
    source = Source(path=path)
    documents, quarantine, slices = read_all(source, slice_bytes)
    assert documents == list(read_documents([path], Quarantine()))
    assert [d.id for d in documents] == [f"x:{i}" for i in range(1, 96)]
    assert quarantine.num_seen == 95
    assert len(slices) == {1: 10, LARGE: 1}.get(slice_bytes, len(slices))
    assert sum(part.num_bytes for part in slices) > 0


def test_a_large_file_is_cut_into_slices_of_about_the_size_asked_for(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"text": "字" * 30}) + "\n" for _ in range(2000)))
    slices = list_slices([Source(path=path)], 50_000)
    assert [part.num_bytes for part in slices[:-1]] == pytest.approx([50_000] * (len(slices) - 1), abs=300)
    assert sum(part.num_bytes for part in slices) == path.stat().st_size
    assert [part.start for part in slices[1:]] == [part.stop for part in slices[:-1]]


def test_slices_come_in_the_order_of_sources_and_names_and_compressed_files_are_not_cut(tmp_path: Path):
    for name in ("b.jsonl", "a.txt", "子 目录/c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "好"}\n' * 3, encoding="utf-8")
    (tmp_path / "again.jsonl").write_text('{"text": "好"}\n' * 3, encoding="utf-8")
    slices = list_slices([Source(path=tmp_path / "again.jsonl"), Source(path=tmp_path / "子 目录")], 10)
    slices += list_slices([Source(path=tmp_path)], 10)
    names = [(part.source, part.name) for part in slices]
    folder = [(0, "a.txt"), *[(0, "again.jsonl")] * 3, *[(0, "b.jsonl")] * 3, (0, "子 目录/c.md")]
    assert names == [*[(0, "again.jsonl")] * 3, (1, "c.md"), *folder]


@pytest.mark.fault(17)
def test_a_document_that_no_line_of_a_shard_could_hold_is_set_aside_whatever_its_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It would be written and then not be read back: the run would end after all its work."""
    monkeypatch.setattr("corpora.sources.slices.MAX_DOCUMENT_BYTES", 300)
    texts = {"fits": "字" * 99, "too long": "字" * 101, "too long as JSON": "\x01" * 51 + "字" * 20}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    pq.write_table(pa.table({"text": list(texts.values())}), tmp_path / "rows.parquet")
    documents, quarantine, _ = read_all(Source(path=tmp_path))
    assert [document.text for document in documents] == [texts["fits"]] * 2
    assert (quarantine.counts, quarantine.num_seen) == ({"too_long": 4}, 6)


def test_files_of_one_name_in_several_sources_have_names_of_their_own(tmp_path: Path):
    for folder in ("甲", "乙", "deep/乙"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "d.jsonl").write_text('{"text": "文字"}\n', encoding="utf-8")
    (tmp_path / "e.jsonl").write_text('{"text": "文字"}\n', encoding="utf-8")
    paths = [tmp_path / "甲", tmp_path / "乙", tmp_path / "deep/乙", tmp_path / "甲/d.jsonl", tmp_path / "e.jsonl"]
    names = [each.name for each in list_slices([Source(path=path) for path in paths], 1 << 20)]
    assert names == ["甲-1/d.jsonl", "乙-2/d.jsonl", "乙-3/d.jsonl", "甲-4/d.jsonl", "e.jsonl"]
    names = [each.name for each in list_slices([Source(path=path) for path in paths[:2]], 1 << 20)]
    assert names == ["甲/d.jsonl", "乙/d.jsonl"]
