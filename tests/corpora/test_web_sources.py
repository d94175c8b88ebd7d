"""Web pages: HTML files, WARC and WET, their main text, their addresses, and the encodings they declare."""

import gzip
import io
import json
from pathlib import Path

import pytest
from slices import read_all
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from corpora.sources.source import Source
from corpora.sources.web_page import decode_page
from hanlm.errors import InputError

BODY = "早上下了一場大雨，孩子們撐著傘，沿著河邊走到學校去。他打開信，讀了兩遍，又默默地放回抽屜裡，什麼也沒有說。"


def page(charset: str = "", codec: str = "utf-8", body: str = BODY) -> bytes:
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={charset}">' if charset else ""
    menu = "".join(f'<li><a href="/{i}">選單{i}</a></li>' for i in range(8))
    html = (
        f"<html><head>{meta}<title>大雨的早晨</title><script>var x=1</script></head><body><nav><ul>{menu}</ul></nav>"
        f"<article><h1>大雨的早晨</h1><p>{body}</p><p>{body[::-1]}</p></article><footer>版權所有</footer></body></html>"
    )
    return html.encode(codec)


def write_warc(path: Path, records: list[tuple[str, str, str, bytes]], *, is_packed: bool = True) -> None:
    """Write (type, URL, content type or status line, body)."""
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=is_packed)
        for kind, url, content_type, body in records:
            headers = None
            if kind == "response":
                status, _, stated = content_type.rpartition("|")
                headers = StatusAndHeaders(status or "200 OK", [("Content-Type", stated)], protocol="HTTP/1.1")
            record = writer.create_warc_record(
                url,
                kind,
                payload=io.BytesIO(body),
                http_headers=headers,
                warc_content_type=content_type if headers is None else "",
            )
            writer.write_record(record)


@pytest.mark.parametrize("packing", [True, False])
def test_pages_of_a_warc_file_become_documents_of_their_addresses(tmp_path: Path, packing: bool):
    path = tmp_path / ("爬 取.warc.gz" if packing else "爬 取.warc")
    write_warc(
        path,
        [
            ("warcinfo", "", "application/warc-fields", b"software: x"),
            ("request", "http://a.cn/1", "application/http", b"GET / HTTP/1.0\r\n\r\n"),
            ("response", "http://a.cn/1", "text/html; charset=utf-8", page()),
            ("response", "http://a.cn/2", "text/html", page("gb2312", "gb18030")),
            ("response", "http://a.cn/3", "text/html; charset=big5", page("", "big5hkscs")),
            ("response", "http://a.cn/4.jpg", "image/jpeg", b"\xff\xd8"),
            ("response", "http://a.cn/5", "404 Not Found|text/html", page()),
            ("response", "http://a.cn/6.txt", "text/plain", BODY.encode("gb18030")),
            ("response", "http://a.cn/7", "text/html", b"<html><body></body></html>"),
            ("response", "http://a.cn/8", "text/html; charset=utf-8", page() + b"\xff"),
        ],
        is_packed=packing,
    )
    documents, quarantine, _ = read_all(Source(path=path, domain="web", lang="zh"))
    assert [d.id for d in documents] == [f"http://a.cn/{i}" for i in ("1", "2", "3", "6.txt", "7")]
    assert [d.source for d in documents] == [d.id for d in documents]
    for document in documents[:3]:
        assert document.text == f"大雨的早晨\n{BODY}\n{BODY[::-1]}"
        assert "選單" not in document.text
    assert documents[3].text == BODY
    assert documents[4].text == ""
    assert quarantine.counts == {"invalid_utf8": 1}
    assert quarantine.num_seen == 6


def test_pages_of_a_wet_file_are_plain_text(tmp_path: Path):
    path = tmp_path / "CC-MAIN-1.warc.wet.gz"
    lines = f"大雨\n{BODY}\n"
    records = [("conversion", f"http://a.cn/{i}", "text/plain", lines.encode()) for i in range(3)]
    write_warc(
        path,
        [
            ("warcinfo", "", "application/warc-fields", b"x: y"),
            *records,
            ("conversion", "http://b", "text/plain", b"\xff"),
        ],
    )
    documents, quarantine, _ = read_all(Source(path=path), quarantine_path=tmp_path / "q")
    assert [(d.id, d.text) for d in documents] == [(f"http://a.cn/{i}", lines) for i in range(3)]
    assert quarantine.counts == {"invalid_utf8": 1}
    assert json.loads((tmp_path / "q").read_text())["line"] == 5


@pytest.mark.fault(15)
@pytest.mark.parametrize("is_packed", [True, False])
def test_a_truncated_warc_file_is_an_error_wherever_it_is_cut(tmp_path: Path, is_packed: bool):
    path = tmp_path / ("x.warc.gz" if is_packed else "x.warc")
    write_warc(path, [("response", f"http://a.cn/{i}", "text/html", page()) for i in range(5)], is_packed=is_packed)
    whole = path.read_bytes()
    assert len(read_all(Source(path=path))[0]) == 5
    for cut in (len(whole) - 10, len(whole) // 2, len(whole) // 3, len(whole) // 5 + 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"truncated|damaged"):
            read_all(Source(path=path))
    path.write_bytes(gzip.compress(b"no archive at all\n") if is_packed else b"no archive at all\n")
    with pytest.raises(InputError, match="damaged or no web archive"):
        read_all(Source(path=path))


@pytest.mark.fault(17)
def test_what_markup_names_but_no_file_can_hold_is_left_out(tmp_path: Path):
    (tmp_path / "a.html").write_bytes(page(body=f"&#xD800;&#0;{BODY}").replace(b"</p>", b"\0</p>"))
    (tmp_path / "b.html").write_bytes(b"<p>&#xDFFF;short</p>")
    for document in read_all(Source(path=tmp_path))[0]:
        json.dumps(document.text, ensure_ascii=False).encode("utf-8")
    assert BODY in read_all(Source(path=tmp_path))[0][0].text


def test_html_files_in_folders_are_read_with_their_titles(tmp_path: Path):
    (tmp_path / "子 目录").mkdir()
    (tmp_path / "a.html").write_bytes(page("gbk", "gb18030"))
    (tmp_path / "子 目录/b.htm").write_bytes(page())
    (tmp_path / "c.html").write_bytes(b"<p>\xff\xfe\xfa</p>" * 20)
    documents, quarantine, _ = read_all(Source(path=tmp_path))
    assert [d.id for d in documents] == ["a.html", "子 目录/b.htm"]
    assert {d.text for d in documents} == {f"大雨的早晨\n{BODY}\n{BODY[::-1]}"}
    assert quarantine.num_seen == 3
    assert quarantine.num_quarantined == 1


@pytest.mark.parametrize(
    ("declared", "inside", "codec"),
    [
        ("gbk", "", "gb18030"),
        (None, "gb2312", "gb18030"),
        (None, "", "big5hkscs"),
        ("utf-8", "utf-8", "gb18030"),  # both wrong
        ("klingon", "gbk", "gb18030"),
        ("gbk", "gbk", "utf-8-sig"),  # the mark decides
        ("iso-8859-1", "gbk", "gb18030"),
    ],
)
def test_the_encoding_of_a_page_is_found_where_it_is_declared_or_not(declared: str | None, inside: str, codec: str):
    got = decode_page(page(inside, codec), declared)
    assert isinstance(got, tuple)
    assert BODY in got[0]


def test_a_page_cut_within_a_character_is_whole_where_it_is_known_to_be_cut():
    raw = page("gbk", "gb18030", BODY)
    cut = raw[: raw.index("學校".encode("gb18030")) + 1]
    assert decode_page(cut, "gbk") == "invalid_gb18030"
    assert isinstance(decode_page(cut, "gbk", is_cut=True), tuple)
