"""Archives are read where they lie: nothing is unpacked, nothing leads outside, no bomb goes off."""

import bz2
import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from slices import read_all, texts_of

from corpora.sources.source import Source
from corpora.sources.unpacking import FREE_BYTES, is_unsafe
from hanlm.errors import InputError

MEMBERS = {
    "b/中文 名.txt": "一".encode(),
    "a.jsonl": b'{"text": "x", "id": "i"}\n{"text": null}\n',
    "c.txt.gz": gzip.compress("二".encode()),
    "d.md": "早上下了一场大雨，孩子们撑着伞。".encode("gb18030"),
    "e.png": b"\x89PNG",
    ".hidden.txt": b"x",
    "inner.zip": b"PK",
}


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name), raw, zipfile.ZIP_DEFLATED)


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    pack: dict[str, Callable[[bytes], bytes]] = {
        ".tar": bytes, ".tgz": gzip.compress, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstandard.compress,
    }  # fmt: skip
    path.write_bytes(pack[path.suffix](buffer.getvalue()))


@pytest.mark.parametrize("name", ["x y.zip", "x y.tar", "x y.tgz", "x y.tar.gz", "x y.tar.bz2", "x y.tar.zst"])
def test_members_are_read_as_files_of_their_names_are(tmp_path: Path, name: str):
    path = tmp_path / name
    (write_zip if name.endswith(".zip") else write_tar)(path, MEMBERS)
    documents, quarantine, _ = read_all(Source(path=path), quarantine_path=tmp_path / "q")
    assert [(d.id, d.text) for d in documents] == [
        (f"{name}/b/中文 名.txt", "一"),
        ("i", "x"),
        (f"{name}/c.txt.gz", "二"),
        (f"{name}/d.md", "早上下了一场大雨，孩子们撑着伞。"),
    ]
    assert quarantine.counts == {"null_field": 1, "nested_archive": 1}
    assert json.loads((tmp_path / "q").read_text().splitlines()[0])["source"] == f"{path}!a.jsonl"
    assert {p.name for p in tmp_path.iterdir()} == {name, "q"}


UNSAFE = ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "..\\evil.txt", "\\\\host\\evil.txt"]


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_members_whose_names_lead_outside_are_set_aside_and_nothing_is_written(tmp_path: Path, name: str):
    folder = tmp_path / "in"
    folder.mkdir()
    members = dict.fromkeys(UNSAFE, b"evil") | {"good.txt": "好".encode()}
    (write_zip if name.endswith(".zip") else write_tar)(folder / name, members)
    documents, quarantine, _ = read_all(Source(path=folder))
    assert [d.text for d in documents] == ["好"]
    assert quarantine.counts == {"unsafe_path": len(UNSAFE)}
    assert quarantine.num_seen == len(UNSAFE) + 1
    assert [p.name for p in tmp_path.rglob("*")] == ["in", name]
    assert not is_unsafe("a..b/c.txt")


@pytest.mark.fault(21)
def test_links_and_devices_in_archives_are_set_aside(tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind!r}.txt")
            info.type, info.linkname = kind, str(tmp_path / "secret.txt")
            archive.addfile(info)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("link.txt")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, str(tmp_path / "secret.txt"))
    for name, count in (("x.tar", 5), ("x.zip", 1)):
        documents, quarantine, _ = read_all(Source(path=tmp_path / name))
        assert not documents
        assert quarantine.counts == {"unsafe_path": count}


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar.bz2", "x.tar.zst", "x.epub"])
def test_a_decompression_bomb_is_refused_in_bounded_memory(tmp_path: Path, name: str):
    zeros = bytes(FREE_BYTES + 2**20)
    if name.endswith((".zip", ".epub")):
        write_zip(tmp_path / name, {"bomb.txt": zeros})
    else:
        write_tar(tmp_path / name, {"bomb.txt": zeros})
    assert (tmp_path / name).stat().st_size < 100_000
    del zeros
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a decompression bomb; unpack it yourself if you trust it"):
        read_all(Source(path=tmp_path / name))
    assert tracemalloc.get_traced_memory()[1] < 400e6
    tracemalloc.stop()


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstandard.compress])
def test_a_bomb_packed_within_an_archive_is_refused_too(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("corpora.sources.unpacking.FREE_BYTES", 2**20)
    suffix = {gzip.compress: "gz", bz2.compress: "bz2", zstandard.compress: "zst"}[pack]
    bomb = pack((b"0" * 1023 + b"\n") * 4096)
    (write_zip if name == "x.zip" else write_tar)(tmp_path / name, {f"bomb.jsonl.{suffix}": bomb})
    with pytest.raises(InputError, match="a decompression bomb"):
        read_all(Source(path=tmp_path / name))


@pytest.mark.fault(21)
def test_a_zip_file_that_lies_about_a_member_s_size_gives_no_more_than_it_says(tmp_path: Path):
    path = tmp_path / "x.zip"
    write_zip(path, {"a.txt": b"a" * 1000})
    raw = path.read_bytes()
    size = (1000).to_bytes(4, "little")
    path.write_bytes(raw.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(InputError, match="damaged or no zip file"):
        read_all(Source(path=path))


@pytest.mark.fault(15)
@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.zst", "x.tar.bz2"])
def test_a_truncated_archive_is_an_error_wherever_it_is_cut(tmp_path: Path, name: str):
    path = tmp_path / name
    members = {f"{i}.txt": bytes(range(32, 127)) * 20 for i in range(20)} | {"z.png": b"x" * 1700}
    (write_zip if name.endswith(".zip") else write_tar)(path, members)
    whole = path.read_bytes()
    assert len(texts_of(Source(path=path))) == 20
    cuts = {len(whole) // 2, len(whole) // 3, len(whole) * 4 // 5}
    if name == "x.tar":
        cuts |= {512, 2560, 2560 * 3, 2560 * 3 + 300, 2560 * 20, 2560 * 20 + 512}
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"truncated|damaged"):
            read_all(Source(path=path))


@pytest.mark.fault(16)
def test_empty_members_and_empty_archives_give_nothing(tmp_path: Path):
    write_zip(tmp_path / "a.zip", {"empty.txt": b"", "empty.jsonl": b"", "empty.json": b""})
    write_tar(tmp_path / "b.tar", {"empty.md": b""})
    write_zip(tmp_path / "c.zip", {})
    for path in sorted(tmp_path.iterdir()):
        assert texts_of(Source(path=path)) == []


def test_names_in_gbk_are_read_and_locked_members_are_set_aside(tmp_path: Path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("AAAA.txt", "好")
        archive.writestr("locked.txt", "坏")
    raw = path.read_bytes().replace(b"AAAA", "中文".encode("gbk"))
    place = raw.index(b"PK\x01\x02", raw.index(b"PK\x01\x02") + 1)
    path.write_bytes(raw[: place + 8] + b"\x01" + raw[place + 9 :])
    documents, quarantine, _ = read_all(Source(path=path))
    assert [(d.id, d.text) for d in documents] == [("x.zip/中文.txt", "好")]
    assert quarantine.counts == {"encrypted": 1}


def test_a_format_that_is_named_holds_for_the_members(tmp_path: Path):
    write_tar(tmp_path / "x.tar", {"part-0": b'{"text": "a"}\n', "part-1": b'{"text": "b"}\n'})
    assert texts_of(Source(path=tmp_path / "x.tar", format="jsonl")) == ["a", "b"]


def test_tables_in_archives_are_read_from_memory(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["一", "二"]}), buffer)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("text", pa.string())])) as out:
        out.write_table(pa.table({"text": ["三"]}))
    for name in ("x.zip", "x.tar"):
        members = {"a.parquet": buffer.getvalue(), "b.arrow": sink.getvalue()}
        (write_zip if name.endswith(".zip") else write_tar)(tmp_path / name, members)
        assert texts_of(Source(path=tmp_path / name)) == ["一", "二", "三"]
