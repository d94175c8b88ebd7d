"""Wikipedia dumps: articles out of XML that is not trusted, wikitext into what a reader reads."""

import bz2
import time
import tracemalloc
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from slices import read_all

from corpora.sources.source import Source
from corpora.sources.wikitext import plain_text, resolve_variants
from hanlm.errors import InputError

HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">\n  <siteinfo>\n'
    "    <sitename>Wikipedia</sitename>\n    <dbname>zhwiki</dbname>\n  </siteinfo>\n"
)
NAME = "zhwiki-20260101-pages-articles.xml"

ARTICLE = """{{NoteTA|G1=IT}}
{{Infobox 软件|名称 = [[某软件]]|图像 = [[File:a.png|200px]]}}
[[File:b.jpg|thumb|一幅[[图]]的说明]]
'''-{zh-hans:操作系统;zh-hant:作業系統}-'''（英语：{{lang|en|Operating System}}，
[[缩写]]：'''OS'''）是[[计算机科学|计算机]]的
''系统软件''<ref>{{cite web|t=源}}</ref>。{{fact}}
它管理[[硬件]]&nbsp;与软件<ref name="b" />。详见[[:Category:软件]]。<!-- 注释 -->

== 历史 ==
1960年代{{le|出现|OS/360}}了第一批-{系统}-。
* 第一项
* 第二项[https://example.org 链接]
{| class="wikitable"
! 表头
|-
| 单元格
|}
=== 早期 ===
公式<math>a^2</math>成立。
== 参考文献 ==
{{reflist}}
== 外部链接 ==
* [https://example.org]
{{DEFAULTSORT:xx}}
[[Category:操作系统]]
[[分类:软件]]
[[en:Operating system]]
"""

EXPECTED = """操作系统（英语：Operating System，
缩写：OS）是计算机的
系统软件。
它管理硬件 与软件。详见Category:软件。

历史
1960年代出现了第一批系统。
第一项
第二项链接

早期
公式$a^2$成立。"""


def page(id: int, title: str, text: str, *, ns: int = 0, redirect: bool = False) -> str:
    moved = '    <redirect title="x" />\n' if redirect else ""
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    <ns>{ns}</ns>\n    <id>{id}</id>\n{moved}"
        f'    <revision>\n      <id>9{id}</id>\n      <text bytes="3" xml:space="preserve">{escape(text)}</text>\n'
        "    </revision>\n  </page>\n"
    )


def write_dump(path: Path, *pages: str | bytes) -> None:
    raw = b"".join(p if isinstance(p, bytes) else p.encode() for p in (HEAD, *pages, "</mediawiki>\n"))
    path.write_bytes(bz2.compress(raw) if path.name.endswith("bz2") else raw)


@pytest.mark.parametrize("name", [NAME, f"{NAME}.bz2", "zhwiki-20260101-pages-articles-multistream1.xml-p1p187712.bz2"])
def test_articles_become_documents_and_other_pages_are_passed_over(tmp_path: Path, name: str):
    pages = [
        page(1, "操作系统", ARTICLE),
        page(2, "OS", "#重定向 [[操作系统]]", redirect=True),
        page(3, "Talk:操作系统", "讨论", ns=1),
        page(4, "A & <B>", "甲 < 乙 & 丙"),
    ]
    write_dump(tmp_path / name, *pages)
    documents, quarantine, _ = read_all(Source(path=tmp_path, lang="zh"))
    assert [(d.id, d.source, d.group) for d in documents] == [
        ("zhwiki:1", "zhwiki:操作系统", "zhwiki:1"),
        ("zhwiki:4", "zhwiki:A & <B>", "zhwiki:4"),
    ]
    assert documents[0].text == f"操作系统\n\n{EXPECTED}"
    assert documents[1].text == "A & <B>\n\n甲 < 乙 & 丙"
    assert quarantine.num_seen == 2


def test_a_page_is_found_wherever_the_reads_cut_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / NAME
    write_dump(path, *(page(i, f"题{i}", f"第{i}条") for i in range(30)))
    whole = read_all(Source(path=path))[0]
    assert len(whole) == 30
    for size in (1, 5, 7, 13, 64, 1000):
        monkeypatch.setattr("corpora.sources.wikipedia._CHUNK_BYTES", size)
        assert read_all(Source(path=path))[0] == whole


@pytest.mark.fault(13)
@pytest.mark.fault(17)
def test_a_page_that_cannot_be_parsed_is_set_aside_and_its_neighbours_are_kept(tmp_path: Path):
    bad = {
        "malformed_xml": page(5, "x", "文").replace("</title>", ""),
        "missing_field": page(6, "x", "文").replace("<id>6</id>", ""),
        "invalid_utf8": page(7, "x", "QQ").encode().replace(b"QQ", b"\xff\xfe"),
    }
    nul = page(8, "x", "QQ").replace("QQ", "\0")
    write_dump(tmp_path / NAME, page(1, "一", "甲"), *bad.values(), nul, page(2, "二", "乙"))
    documents, quarantine, _ = read_all(Source(path=tmp_path))
    assert [d.id for d in documents] == ["zhwiki:1", "zhwiki:2"]
    assert quarantine.counts == {"malformed_xml": 2, "missing_field": 1, "invalid_utf8": 1}
    assert quarantine.num_seen == 6


@pytest.mark.fault(21)
def test_entities_of_a_dump_never_expand(tmp_path: Path):
    bomb = (
        '<!DOCTYPE m [<!ENTITY a "'
        + "哈" * 1000
        + '">'
        + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(8))
        + '<!ENTITY file SYSTEM "file:///etc/passwd">]>\n'
    )
    path = tmp_path / NAME
    evil = [page(i, "x", "QQ").replace("QQ", entity) for i, entity in enumerate(("&i;", "&file;", "&a;"))]
    path.write_text(bomb + HEAD + "".join(evil) + page(9, "好", "文") + "</mediawiki>", encoding="utf-8")
    tracemalloc.start()
    documents, quarantine, _ = read_all(Source(path=path))
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert [d.text for d in documents] == ["好\n\n文"]
    assert quarantine.counts == {"malformed_xml": 3}


@pytest.mark.fault(15)
@pytest.mark.fault(16)
def test_a_truncated_dump_and_one_without_pages_are_errors(tmp_path: Path):
    path = tmp_path / NAME
    write_dump(path, page(1, "一", "甲"), page(2, "二", "乙"))
    whole = path.read_bytes()
    for cut in (len(whole) - 14, len(whole) - 60, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="truncated"):
            read_all(Source(path=path))
    path.write_text("<other/>")
    with pytest.raises(InputError, match="holds no <page>"):
        read_all(Source(path=path))


@pytest.mark.fault(17)
def test_a_page_of_100_mb_is_set_aside_in_bounded_memory(tmp_path: Path):
    path = tmp_path / NAME
    write_dump(path, page(1, "一", "甲"), page(2, "大", "a" * 100_000_000), page(3, "三", "丙"))
    tracemalloc.start()
    documents, quarantine, _ = read_all(Source(path=path))
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()
    assert [d.id for d in documents] == ["zhwiki:1", "zhwiki:3"]
    assert quarantine.counts == {"too_long": 1}


@pytest.mark.parametrize(
    ("markup", "hans", "hant"),
    [
        ("-{zh-hans:计算机;zh-hant:電腦;}-", "计算机", "電腦"),
        ("-{zh-cn:信息; zh-tw:資訊; zh-hk:資訊}-", "信息", "資訊"),
        ("-{zh-tw:程式}-", "程式", "程式"),
        ("-{原样}-", "原样", "原样"),
        ("-{R|皇后}-", "皇后", "皇后"),
        ("-{zh;zh-hans|说明}-", "说明", "说明"),
        ("-{A|zh-cn:软件;zh-tw:軟體}-", "软件", "軟體"),
        ("甲-{H|zh-cn:博客;zh-tw:部落格}-乙", "甲乙", "甲乙"),
        ("甲-{T|zh-cn:题;zh-tw:題}-乙", "甲乙", "甲乙"),
        ("-{zh-hans:外-{zh-hans:内;zh-hant:內}-;zh-hant:X}-", "外内", "X"),
        ("-{zh-hans:a&nbsp;b;zh-hant:c}-", "a&nbsp;b", "c"),
        ("a-{{b}}-", "a-{{b}}-", "a-{{b}}-"),
        ("-{未完", "-{未完", "-{未完"),
    ],
)
def test_conversion_markup_is_resolved_to_one_variant(markup: str, hans: str, hant: str):
    assert resolve_variants(markup, "zh-hans") == hans
    assert resolve_variants(markup, "zh-hant") == hant


@pytest.mark.fault(17)
def test_lone_surrogates_and_templates_without_end_cost_nothing_else(tmp_path: Path):
    pages = [page(1, "一", "甲&#xD800;乙"), page(2, "二", "{{a|" * 5000), page(3, "三", "丙")]
    write_dump(tmp_path / NAME, *pages)
    documents, quarantine, _ = read_all(Source(path=tmp_path))
    assert [d.text for d in documents] == ["一\n\n甲乙", "三\n\n丙"]
    assert quarantine.counts == {"malformed_wikitext": 1}


@pytest.mark.fault(17)
@pytest.mark.parametrize("begun", ["<ref>", "<ref a='", "{|\n", "[http://a ", "{{a|"])
def test_what_is_opened_thousands_of_times_and_never_closed_takes_no_time(begun: str):
    began = time.process_time()
    assert plain_text(begun * 20_000) is None
    assert time.process_time() - began < 2


@pytest.mark.fault(17)
def test_a_page_of_blanks_takes_linear_time():
    began = time.process_time()
    assert plain_text("字" + " \n" * 50_000 + "x") == "字\n\nx"
    assert time.process_time() - began < 2


def test_a_traditional_source_takes_the_traditional_side(tmp_path: Path):
    write_dump(tmp_path / NAME, page(1, "一", "-{zh-hans:软件;zh-hant:軟體}-"))
    assert read_all(Source(path=tmp_path, lang="zh-Hant"))[0][0].text == "一\n\n軟體"


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("法国（{{lang-fr|République}}，{{IPA|x}}）在欧洲", "法国（République）在欧洲"),
        ("甲（{{IPA|x}}）乙", "甲乙"),
        ("[[甲|'''乙''']]、[[丙]]、[[:丁]]", "乙、丙、丁"),
        ("== 空 ==\n== 有 ==\n文", "有\n文"),
        ("== 上 ==\n=== 下 ===\n文\n== 空 ==\n=== 也空 ===\n", "上\n\n下\n文"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("{{未闭合 [[也未", "{{未闭合 [[也未"),
        ("x<nowiki>[[不是链接]]</nowiki>", "x[[不是链接]]"),
        ("__TOC__\n文\n\n\n\n字", "文\n\n字"),
        ("", ""),
        ("[[Kruskal&ndash;Wallis test]] of [[35&nbsp;mm film]]", "Kruskal–Wallis test of 35 mm film"),
        ("diagnosed with ASD {{as of|2014}}, a 30% increase {{fact}}.", "diagnosed with ASD, a 30% increase."),
        ("A (named {{IPAc-en|e}}, plural As) or {{IPA|a}}, {{IPA|b}}, and c", "A (named, plural As) or, and c"),
        ("{{cite web|x}}.\n: {{audio|x}}: Runic letter\n文", "Runic letter\n文"),
        ("'''Alaska''' ({{IPAc-en|a}}) is a state", "Alaska is a state"),
        ("a ... b .NET, , c", "a ... b .NET, , c"),
        ("长{{convert|1300|mi|km}}，高{{cvt|4|to|6.5|km|0}}。", "长1300 mi，高4 to 6.5 km。"),
        ("{{quote|[[甲]]说：乙。|丙}}{{Blockquote|text=丁=戊。}}{{cquote}}", "甲说：乙。丁=戊。"),
        ("{{chem|H|2|O}}和{{transl|ar|al-Jazā'ir}}和{{nihongo|'''合气道'''|合気道}}", "H2O和al-Jazā'ir和合气道"),
    ],
)
def test_wikitext_becomes_what_a_reader_reads(wikitext: str, text: str):
    assert plain_text(wikitext) == text
