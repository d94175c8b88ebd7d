"""Encodings are told apart by what their bytes spell; text in them is read as UTF-8, damage and all."""

import io
import json
from pathlib import Path

import pytest

from hanlm.encodings import TextStream, codec_name, detect, detect_file
from hanlm.errors import ConfigError, InputError
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents, read_json_lines

SIMPLIFIED = "早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去。\n他打开信，读了两遍，又默默地放回抽屉里。\n"
TRADITIONAL = "早上下了一場大雨，孩子們撐著傘，沿著河邊走到學校去。\n他打開信，讀了兩遍，又默默地放回抽屜裡。\n"
CODECS = ["utf-8", "gb18030", "big5hkscs", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("text", [SIMPLIFIED, TRADITIONAL], ids=["simplified", "traditional"])
def test_a_sentence_tells_the_encoding_of_either_script(text: str, codec: str):
    if codec == "big5hkscs" and text is SIMPLIFIED:
        pytest.skip("Big5 has no simplified characters")
    assert detect(text.encode(codec), is_whole=True) == codec
    assert detect(text[:12].encode(codec), is_whole=True) == codec


@pytest.mark.parametrize(
    ("mark", "codec"),
    [("utf-8-sig", "utf-8"), ("utf-16", "utf-16-le"), ("utf-32", "utf-32-le"), ("utf-8", "utf-8")],
)
def test_a_byte_order_mark_decides_and_is_no_part_of_the_text(mark: str, codec: str):
    raw = "ab\n中".encode(mark)
    stream = TextStream(io.BytesIO(raw))
    assert stream.read().decode("utf-8").removeprefix("\ufeff") == "ab\n中"
    assert stream.encoding == codec


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Съешь же ещё этих мягких французских булок да выпей чаю. " * 4, "cp1251"),
        ("Съешь же ещё этих мягких французских булок да выпей чаю. " * 4, "koi8_r"),
        ("Le cœur déçu mais l'âme plutôt naïve, à l'été où les élèves rêvent. " * 4, "cp1252"),
        ("いろはにほへと、ちりぬるを。わが世たれぞ、常ならむ。有為の奥山、今日越えて。" * 4, "cp932"),
        ("いろはにほへと、ちりぬるを。わが世たれぞ、常ならむ。有為の奥山、今日越えて。" * 4, "euc_jp"),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. " * 4, "cp949"),
    ],
)
def test_text_of_other_languages_is_not_taken_for_rare_chinese(text: str, codec: str):
    raw = text.encode(codec)
    stream = TextStream(io.BytesIO(raw))
    assert stream.read() == raw
    assert stream.encoding == "utf-8"


@pytest.mark.fault(13)
@pytest.mark.parametrize("bad", [b"\xff", b"\xe6\xb1", b"\x81", b"\xc3\x28"])
def test_a_bad_byte_in_utf8_does_not_make_it_another_encoding(bad: bytes):
    english = b"A line of English, and another one to make some room for the damage.\n"
    assert detect(english + bad + b" cut\n" + english) in ("utf-8", "cp1252")
    assert detect(SIMPLIFIED.encode() + bad + b"\n" + SIMPLIFIED.encode()) == "utf-8"
    assert TextStream(io.BytesIO(english + bad)).read() == english + bad


@pytest.mark.fault(17)
def test_nul_in_utf8_is_not_taken_for_utf16():
    raw = b"one\0two\n" + SIMPLIFIED.encode()
    assert detect(raw) == "utf-8"
    assert detect("plain ascii, but wide\n".encode("utf-16-le")) == "utf-16-le"


@pytest.mark.parametrize("codec", ["gb18030", "big5hkscs"])
def test_an_encoding_is_found_however_late_its_first_character_stands(codec: str):
    raw = b"0123456789 abc\n" * 20_000 + TRADITIONAL.encode(codec)
    stream = TextStream(io.BytesIO(raw))
    assert stream.read() == b"0123456789 abc\n" * 20_000 + TRADITIONAL.encode()
    assert stream.encoding == codec


@pytest.mark.parametrize("codec", ["gb18030", "big5hkscs", "utf-16-le", "utf-16-be", "utf-16"])
def test_conversion_equals_pythons_own_whatever_the_size_of_the_reads(codec: str):
    text = "".join(f"{i} {TRADITIONAL}" for i in range(3000))
    stream = TextStream(io.BytesIO(text.encode(codec)))
    parts = [stream.read(size) for size in (1, 2, 3, 7, 65_536)]
    assert (b"".join(parts) + stream.read()).decode().removeprefix("\ufeff") == text


@pytest.mark.fault(13)
@pytest.mark.parametrize("codec", ["gb18030", "big5hkscs", "utf-16-le"])
def test_bad_bytes_are_marked_in_their_own_line_alone(codec: str):
    lines = [line.encode(codec) for line in [TRADITIONAL] * 5]
    lines[2] = (b"\x00\xdc" if codec == "utf-16-le" else b"\x81\x20") + lines[2]
    read = TextStream(io.BytesIO(b"".join(lines))).read().split(b"\n")
    bad = [number for number, line in enumerate(read) if b"\xff" in line]
    assert bad == [4]
    assert b"\n".join(line for line in read[:4]).decode() == (TRADITIONAL * 2).rstrip("\n")


def test_the_widest_relative_of_an_encoding_reads_it_and_an_unknown_one_is_refused():
    assert [codec_name(name) for name in ("GBK", "gb2312", "Big5", "utf8")] == [
        "gb18030",
        "gb18030",
        "big5hkscs",
        "utf-8",
    ]
    for name in ("klingon", "base64", "rot13"):
        with pytest.raises(ConfigError, match="text encoding"):
            codec_name(name)


@pytest.mark.parametrize(("codec", "name"), [("gb18030", "GB18030"), ("big5hkscs", "Big5"), ("utf-16", "UTF-16")])
def test_a_strict_reader_names_the_encoding_that_a_file_is_really_in(tmp_path: Path, codec: str, name: str):
    path = tmp_path / "书 名.txt"
    path.write_bytes((TRADITIONAL * 3).encode(codec))
    quarantine = Quarantine()
    list(read_documents([path], quarantine, txt_unit="line"))
    with pytest.raises(InputError, match=rf"书 名\.txt looks like {name}.*corpus build.*iconv"):
        quarantine.check()
    assert detect_file(path) == {"utf-16": "utf-16-le"}.get(codec, codec)


@pytest.mark.parametrize("codec", ["gb18030", "big5hkscs", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_a_strict_reader_of_json_names_the_encoding_too(tmp_path: Path, codec: str, ending: str):
    path = tmp_path / f"x{ending}"
    records = [{"text": line} for line in TRADITIONAL.splitlines() * 5]
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    path.write_bytes((lines if ending == ".jsonl" else json.dumps(records, ensure_ascii=False)).encode(codec))

    def read() -> None:
        quarantine = Quarantine()
        list(read_json_lines(path, quarantine))
        quarantine.check()

    with pytest.raises(InputError, match=r"looks like .*corpus build"):
        read()


def test_a_strict_reader_of_damaged_utf8_names_no_other_encoding(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(json.dumps({"text": SIMPLIFIED}).encode() + b"\xff\n" for _ in range(9)))
    quarantine = Quarantine()
    list(read_json_lines(path, quarantine))
    with pytest.raises(InputError, match="mend the input"):
        quarantine.check()
