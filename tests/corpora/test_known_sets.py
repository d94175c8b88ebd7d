"""The list of well-known sets: whole, printable, and applied to the sources that name one."""

import json
from pathlib import Path

import pytest
from slices import read_all

from corpora.sets import describe, table
from corpora.sources.known_sets import known_sets, with_known_set
from corpora.sources.source import Fields, Source
from hanlm.cli import main
from hanlm.errors import ConfigError


def test_every_entry_is_whole_and_can_be_a_source(tmp_path: Path):
    assert len(known_sets()) > 15
    for name, known in known_sets().items():
        assert known.fetch
        assert known.homepage.startswith("https://")
        assert known.license
        source = with_known_set(Source(set=name, path=tmp_path))
        assert (source.path, source.domain, source.license) == (tmp_path, known.domain, known.license)
        assert with_known_set(source) == source
        assert name in describe(name)
        assert name in table()


def test_a_set_gives_its_place_columns_and_labels_where_the_source_names_none(tmp_path: Path):
    source = with_known_set(Source(set="fineweb2-zh"))
    assert source.hub_name == "HuggingFaceFW/fineweb-2:cmn_Hani:train"
    row = {"段落": [{"内容": "一"}, {"内容": "二"}], "文件名": "书.txt"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    (document,) = read_all(Source(set="mnbvc", path=tmp_path, domain="books"))[0]
    assert (document.id, document.text, document.domain, document.lang) == ("书.txt", "一\n二", "books", "zh")
    assert document.license.startswith("unclear")
    own = Source(set="mnbvc", path=tmp_path, fields=Fields(text=("文件名",)), license="mine")
    assert [(d.text, d.license) for d in read_all(own)[0]] == [("书.txt", "mine")]


def test_an_unknown_set_names_the_nearest_and_one_off_the_hub_needs_a_path():
    with pytest.raises(ConfigError, match="did you mean 'skypile'"):
        with_known_set(Source(set="skypil"))
    with pytest.raises(ConfigError, match=r"has no place on the hub; fetch it \(register"):
        with_known_set(Source(set="wudao"))


@pytest.mark.parametrize(("name", "found"), [((), "cci3-hq"), (("skypile",), "hub: Skywork/SkyPile-150B")])
def test_the_command_prints_the_list_or_one_set(name: tuple[str, ...], found: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        main(["corpus", "sets", *name])
    assert done.value.code == 0
    assert found in capsys.readouterr().out


def test_the_command_refuses_an_unknown_set(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        main(["corpus", "sets", "none"])
    assert done.value.code == 2
    assert "no known set" in capfd.readouterr().err
