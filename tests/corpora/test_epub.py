"""EPUB books: chapters in reading order, one group a book, nothing of them trusted."""

import io
import zipfile
from pathlib import Path

import pytest
from slices import read_all

from corpora.sources.epub import html_text
from corpora.sources.source import Source
from hanlm.errors import InputError

CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def chapter(body: str) -> bytes:
    head = (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head>'
    )
    return f"{head}<body>{body}</body></html>".encode()


def write_epub(
    path: Path, chapters: dict[str, bytes], *, doctype: str = "", extra: dict[str, bytes] | None = None
) -> None:
    items = "".join(
        f'<item id="i{i}" href="{name.replace(" ", "%20")}" media-type="application/xhtml+xml"/>'
        for i, name in enumerate(sorted(chapters))
    )
    spine = "".join(f'<itemref idref="i{sorted(chapters).index(name)}"/>' for name in chapters)
    opf = (
        f'<?xml version="1.0"?>{doctype}<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>书</dc:title><dc:language>zh-TW</dc:language></metadata>'
        f'<manifest>{items}<item id="css" href="a.css" media-type="text/css"/></manifest><spine>{spine}</spine>'
        "</package>"
    )
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("OEBPS/content.opf", opf)
        for name, raw in chapters.items():
            book.writestr(f"OEBPS/{name}", raw)
        for name, raw in (extra or {}).items():
            book.writestr(name, raw)


CHAPTERS = {
    "z 第一章.xhtml": chapter(
        "<h1>第一章</h1><p>从前<b>有</b>座\n山。</p><p>山里<ruby>有<rt>yǒu</rt></ruby>座庙。</p>"
    ),
    "a.xhtml": chapter("<h1>第二章</h1><div>老和尚<br/>讲故事</div><script>x</script>"),
}


def test_chapters_come_in_the_order_of_the_spine_and_form_one_group(tmp_path: Path):
    write_epub(tmp_path / "一 本书.epub", CHAPTERS)
    documents, quarantine, _ = read_all(Source(path=tmp_path, lang="zh", license="PD"))
    assert [(d.id, d.text) for d in documents] == [
        ("一 本书.epub:1", "第一章\n从前有座 山。\n山里有座庙。"),
        ("一 本书.epub:2", "第二章\n老和尚\n讲故事"),
    ]
    assert {(d.group, d.lang, d.license) for d in documents} == {("一 本书.epub", "zh-TW", "PD")}
    assert quarantine.num_seen == 2


@pytest.mark.fault(13)
def test_a_bad_locked_or_missing_chapter_is_set_aside_alone(tmp_path: Path):
    locked = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><EncryptedData xmlns="http://www.w3.org/2001/'
        '04/xmlenc#"><CipherData><CipherReference URI="OEBPS/c.xhtml"/></CipherData></EncryptedData></encryption>'
    )
    chapters = CHAPTERS | {"b.xhtml": chapter("x").replace(b"x<", b"\xff<"), "c.xhtml": b"\x12\x34", "d.xhtml": b""}
    write_epub(tmp_path / "x.epub", chapters, extra={"META-INF/encryption.xml": locked.encode()})
    raw = (tmp_path / "x.epub").read_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(tmp_path / "x.epub", "w") as new:
        for info in old.infolist():
            if info.filename != "OEBPS/a.xhtml":
                new.writestr(info, old.read(info))
    documents, quarantine, _ = read_all(Source(path=tmp_path))
    assert [d.text[:3] for d in documents] == ["第一章", ""]
    assert quarantine.counts == {"missing_member": 1, "invalid_utf8": 1, "encrypted": 1}
    assert quarantine.num_seen == 5


@pytest.mark.fault(13)
@pytest.mark.fault(15)
def test_a_chapter_of_half_a_character_or_of_damaged_bytes_is_no_bug(tmp_path: Path):
    path = tmp_path / "x.epub"
    write_epub(path, CHAPTERS | {"b.xhtml": b"\xff\xfe" + "好".encode("utf-16-le") + b"\x00"})
    _, quarantine, _ = read_all(Source(path=path))
    assert quarantine.counts == {"invalid_utf16": 1}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "y.epub", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with zipfile.ZipFile(tmp_path / "y.epub") as book:
        info = book.getinfo("OEBPS/a.xhtml")
        begin = info.header_offset + 30 + len(info.filename)
    raw = bytearray((tmp_path / "y.epub").read_bytes())
    raw[begin : begin + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "y.epub").write_bytes(raw)
    with pytest.raises(InputError, match="damaged or no EPUB"):
        read_all(Source(path=tmp_path / "y.epub"))


def test_a_chapter_beside_the_package_and_indented_text_are_read_as_a_browser_shows_them(tmp_path: Path):
    write_epub(tmp_path / "x.epub", {"../Text/a.xhtml": chapter("<p>从前\n      <b> 有座</b>  山。</p>")})
    with zipfile.ZipFile(tmp_path / "x.epub") as old, zipfile.ZipFile(tmp_path / "y.epub", "w") as new:
        for name in old.namelist():
            new.writestr(name.replace("OEBPS/../", ""), old.read(name))
    (document,) = read_all(Source(path=tmp_path / "y.epub"))[0]
    assert document.text == "从前 有座 山。"


@pytest.mark.fault(21)
def test_entities_of_a_book_never_expand_and_no_file_is_fetched(tmp_path: Path):
    (tmp_path / "secret").write_text("SECRET")
    doctype = (
        f'<!DOCTYPE package [<!ENTITY a "{"哈" * 1000}"><!ENTITY b "{"&a;" * 1000}"><!ENTITY c "{"&b;" * 1000}">'
        f'<!ENTITY f SYSTEM "file://{tmp_path}/secret">]>'
    )
    chapters = {"a.xhtml": doctype.encode() + b"<html><body><p>&c;&f;\xe5\xa5\xbd</p></body></html>"}
    write_epub(tmp_path / "x.epub", chapters, doctype=doctype)
    (document,) = read_all(Source(path=tmp_path / "x.epub"))[0]
    assert "SECRET" not in document.text
    assert len(document.text) < 100


@pytest.mark.fault(15)
def test_what_is_no_book_is_an_error(tmp_path: Path):
    path = tmp_path / "x.epub"
    write_epub(path, CHAPTERS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged or no EPUB"):
        read_all(Source(path=path))
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("a.txt", "x")
    with pytest.raises(InputError, match="expected an EPUB"):
        read_all(Source(path=path))


@pytest.mark.fault(17)
def test_html_of_any_depth_becomes_text_and_rubbish_becomes_none():
    assert html_text(b"<div>" * 20_000 + "深".encode() + b"</div>" * 20_000) in ("深", "")
    assert html_text(b"") == html_text(b"<!-- x -->") == ""
    table = "<table><tr><td>甲</td><td>乙</td></tr><tr><td>丙</td></tr></table>"
    assert html_text(table.encode()) == "甲 乙\n丙"
