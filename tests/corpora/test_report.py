"""The corpus report: every document accounted for, nothing of a document taken for markup, the same from run to run."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from report_build import CLEANERS, RULES, build_with_report

from corpora.build import BuildConfig
from corpora.build import build as build_corpus
from corpora.dedup.config import DedupConfig
from corpora.facts import Facts, Reason
from corpora.funnel import Funnel
from corpora.registry import STEPS
from corpora.report.flow import flow
from corpora.report.numbers import byte_size, share
from corpora.sources.listing import list_source_files
from corpora.sources.source import Source
from corpora.steps.measuring import LENGTH_EDGES
from hanlm.artifact import open_artifact
from hanlm.quarantine import Quarantine
from hanlm.records import list_files, read_documents
from hanlm.text import class_counts
from hanlm.tokenizing import load_tokenizer

EVIL = "</script><script>alert('漢')</script><img src=x onerror=alert(1)>"
PHONE = "13800138000"


class Outline(HTMLParser):
    """The tags of a page, and its text outside scripts and styles."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.text += data


def drop_advertising(facts: Facts) -> str | None:
    return Reason("advertising", f"{EVIL}加微信{PHONE}, limit 0") if "加微信" in facts.text else None


def hide_phone(text: str) -> str:
    return text.replace(PHONE, "【手机号】")


def records() -> list[dict[str, Any] | str]:
    """Documents of every fate, in domains of their own, some of them with markup in every field."""
    good = [f"第{i}天早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去，路上遇见了{i * 37}个人。" for i in range(60)]
    rows: list[dict[str, Any] | str] = [
        {"id": f"good-{i}", "text": text, "domain": "story", "license": "CC0"} for i, text in enumerate(good)
    ]
    rows += [
        {"id": f"evil-{i}", "text": f"{EVIL}{text}", "domain": EVIL, "license": EVIL} for i, text in enumerate(good[:9])
    ]
    rows += [{"id": f"copy-{i}", "text": good[i], "domain": "web"} for i in range(5)]
    rows += [{"id": f"short-{i}", "text": f"{EVIL}短{i}"[-12:], "domain": "web"} for i in range(11)]
    rows += [
        {"id": f"ad-{i}", "text": f"{EVIL}{good[i]}加微信{PHONE}领取{i}号大奖", "domain": "web"} for i in range(12)
    ]
    rows += [{"id": f"messy-{i}", "text": f"　　{i}０１２\r\n{good[i][::-1]}  ", "domain": "web"} for i in range(10)]
    rows += [
        {
            "id": "hant",
            "text": "這本書寫得很好，我一口氣讀完了，推薦給喜歡歷史的朋友。",
            "domain": "web",
            "lang": "zh-Hant",
        }
    ]
    rows += [{"id": "en", "text": "The river runs past the old mill and the children walk to school.", "lang": "en"}]
    rows += ["{", '{"text": null}', '{"nothing": 1}']
    return rows


def write(path: Path, rows: list[dict[str, Any] | str]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rows = tmp_path_factory.mktemp("in"), records()
    return [write(folder / f"部分 {n}.jsonl", rows[n::3]) for n in range(3)]


Build = Callable[..., tuple[Path, Funnel]]


@pytest.fixture(scope="module")
def build(source: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Build:
    def run(**options: Any) -> tuple[Path, Funnel]:
        rules = {**RULES, "advertising": drop_advertising}
        options = {"rules": rules, "mask": hide_phone, "dedup": DedupConfig(near=False), **options}
        return build_with_report(source, tmp_path_factory.mktemp("work"), **options)

    return run


@pytest.fixture(scope="module")
def built(build: Build) -> tuple[Path, Funnel]:
    return build()


@pytest.fixture(scope="module")
def figures(built: tuple[Path, Funnel]) -> dict[str, Any]:
    return json.loads((built[0] / "report.json").read_text(encoding="utf-8"))


def test_documents_and_bytes_are_followed_to_the_end(built: tuple[Path, Funnel], figures: dict[str, Any]):
    """What a step leaves reaches the next; what the last one leaves is what the shards hold."""
    counts = figures["counts"]
    kept = list(read_documents(list(built[0].glob("*.zst")), Quarantine()))
    assert counts["documents_in"] == len(records()) == len(kept) + sum(counts["documents_dropped"].values()) + 3
    steps = figures["steps"]
    assert [step["name"] for step in steps] == ["normalise", *RULES, "advertising", "copies"]
    assert steps[0]["documents_in"] == counts["documents_in"] - 3
    for before, after in pairwise(steps):
        assert (before["documents_out"], before["bytes_out"]) == (after["documents_in"], after["bytes_in"])
    assert steps[-1]["documents_out"] == len(kept)
    assert steps[-1]["bytes_out"] == sum(len(d.text.encode()) for d in kept) == counts["bytes_kept"]
    assert sum(sum(step["dropped"].values()) for step in steps) == sum(figures["dropped"].values())


def test_dropped_documents_are_counted_by_domain(figures: dict[str, Any]):
    for step in figures["steps"]:
        by_domain = step["dropped_by_domain"].values()
        for reason, count in step["dropped"].items():
            assert sum(reasons.get(reason, 0) for reasons in by_domain) == count
        assert sum(step["domains_in"].values()) == step["documents_in"]
    advertising = next(step for step in figures["steps"] if step["name"] == "advertising")
    assert advertising["dropped_by_domain"] == {"web": {"advertising": 12}}


def test_histograms_count_every_document(built: tuple[Path, Funnel], figures: dict[str, Any]):
    found, counts = figures["histograms"], figures["counts"]
    kept = list(read_documents(list(built[0].glob("*.zst")), Quarantine()))
    assert len(found["length_edges"]) == len(LENGTH_EDGES) + 1
    for name, number in (("read", counts["documents_in"] - 3), ("kept", counts["documents_kept"])):
        assert sum(sum(bins) for bins in found["length"][name].values()) == number
    for domain, bins in found["length"]["kept"].items():
        lengths = [len(d.text) for d in kept if d.domain == domain]
        edges = [*found["length_edges"], 10**9]
        assert bins == [sum(low <= n < high for n in lengths) for low, high in pairwise(edges)]
    assert sum(each["documents"] for each in found["script"].values()) == len(kept)
    assert sum(each["chars"] for each in found["script"].values()) == sum(len(d.text) for d in kept)
    assert found["char_classes"] == class_counts("".join(d.text for d in kept))
    assert found["declared_by_identified"]["zh-Hant"] == {"zh-Hant": 1}
    assert found["declared_by_identified"]["en"] == {"en": 1}
    assert sum(found["declared_by_identified"]["zh"].values()) == len(kept) - 2


def test_the_page_names_every_reason_domain_and_step(built: tuple[Path, Funnel], figures: dict[str, Any]):
    out, funnel = built
    text = Outline(out / "report.html").text
    keys = funnel.manifest_keys()
    assert {"duplicate", "too_short", "advertising"} <= set(keys["counts"]["documents_dropped"])
    for name in [*keys["counts"]["documents_dropped"], *keys["counts"]["quarantined"], *keys["domains"]]:
        assert name in text
    for step in flow(funnel):
        assert step.name in text
        if step.dropped and step.name in STEPS:
            assert STEPS[step.name].description[1:] in text


@pytest.mark.fault(25)
def test_markup_in_documents_domains_and_licences_is_shown_as_text(built: tuple[Path, Funnel]):
    outline = Outline(built[0] / "report.html")
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags
    assert outline.text.count(EVIL) > 12
    assert f"{EVIL}第" in outline.text


def test_samples_say_why_they_were_dropped(built: tuple[Path, Funnel], figures: dict[str, Any]):
    """What was measured stands in a sample's head line, as text and masked as the sample itself."""
    assert all(each["why"].endswith("limit 20") for each in figures["samples"]["length"]["too_short"])
    evidence = hide_phone(f"{EVIL}加微信{PHONE}, limit 0")
    assert PHONE not in evidence
    samples = figures["samples"]["advertising"]["advertising"]
    assert [each["why"] for each in samples] == [evidence] * 8
    assert not any("why" in each for each in figures["samples"]["copies"]["duplicate"])
    text = Outline(built[0] / "report.html").text
    assert text.count(f"characters · {evidence}") == 8
    assert "length in characters 12, limit 20" in text


def test_a_dropped_copy_is_shown_beside_the_one_that_stayed(figures: dict[str, Any]):
    copies = figures["samples"]["copies"]["duplicate"]
    assert len(copies) == 5
    for sample in copies:
        assert {sample["id"].split("-")[0], sample["copy_of"]["id"].split("-")[0]} == {"copy", "good"}
        assert sample["copy_of"]["text"] == sample["text"]


def test_changes_are_marked(built: tuple[Path, Funnel], figures: dict[str, Any]):
    assert len(figures["samples"]["normalise"]["changed"]) == 8
    page = (built[0] / "report.html").read_text(encoding="utf-8")
    marks = re.findall("<mark>([^<]*)</mark>", page)
    assert any("０１２" in mark for mark in marks)
    assert any(mark.endswith("012") for mark in marks)


def test_no_more_than_eight_samples_of_a_reason(figures: dict[str, Any]):
    assert len(figures["samples"]["length"]["too_short"]) == 8
    assert len(figures["samples"]["kept"]["story"]) == 8


def test_personal_data_that_is_masked_is_in_no_sample(built: tuple[Path, Funnel], build: Build):
    names = ("report.json", "report.html")
    assert not any(PHONE in (built[0] / name).read_text(encoding="utf-8") for name in names)
    open_one = build(mask=None)[0]
    assert all(PHONE in (open_one / name).read_text(encoding="utf-8") for name in names)


def test_a_cleaner_that_hides_is_shown_after_it_alone(build: Build):
    cleaners = {**CLEANERS, "personal-data": hide_phone}
    out, _ = build(cleaners=cleaners, rules={})
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count(", after</span>") == 8
    assert PHONE not in page


def test_the_report_is_the_same_however_the_work_is_cut(built: tuple[Path, Funnel], build: Build):
    """Its hash is part of the corpus': no time, no path, no number of workers may be in it."""
    other = build(task_bytes=3_000)[0]
    for name in ("report.json", "report.html"):
        first = (built[0] / name).read_bytes()
        assert len(first) > 10_000
        assert (other / name).read_bytes() == first
        assert str(built[0].parent).encode() not in first


def test_quarantined_records_are_named_within_their_source(figures: dict[str, Any], source: list[Path]):
    entries = figures["quarantined_records"]
    assert {entry["reason"] for entry in entries} == {"malformed_json", "null_field", "missing_field"}
    assert {entry["source"] for entry in entries} == {path.name for path in source}


def test_readers_of_a_corpus_leave_its_report_alone(tmp_path: Path):
    """A report.json that lies beside no manifest is the user's own, and is data."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "corpus").mkdir()
    for folder in ("mine", "corpus"):
        write(tmp_path / folder / "report.json", [{"text": "字"}])
    write(tmp_path / "corpus" / "train-00000.jsonl", [{"text": "字"}])
    write(tmp_path / "corpus" / "manifest.json", ["{}"])
    names = [path.relative_to(tmp_path).as_posix() for path in list_files([tmp_path])]
    assert names == ["corpus/train-00000.jsonl", "mine/report.json"]
    assert [name for _, name in list_source_files(Source(path=tmp_path))] == names


def test_tokens_per_character_are_those_of_the_tokenizer(tiny_tokenizer_folder: Path, build: Build):
    out, _ = build(tokenizer=tiny_tokenizer_folder)
    figures = json.loads((out / "report.json").read_text(encoding="utf-8"))
    story = figures["tokens_per_char"]["domains"]["story"]
    texts = [sample["text"] for sample in figures["samples"]["kept"]["story"]]
    tokenizer: Any = load_tokenizer(tiny_tokenizer_folder)
    num_tokens = sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    assert story["tokens"] == num_tokens
    assert story["tokens_per_char"] == round(num_tokens / sum(map(len, texts)), 4) > 1
    assert "Tokens per character" in Outline(out / "report.html").text
    kept, domains = figures["domains"], figures["tokens_per_char"]["domains"]
    tokens = sum(kept[name]["chars_kept"] * each["tokens_per_char"] for name, each in domains.items())
    overall = figures["tokens_per_char"]["overall"]
    assert overall["chars"] == sum(each["chars_kept"] for each in kept.values())
    assert overall["tokens"] == round(tokens)


def test_a_build_carries_its_report_and_is_the_same_elsewhere(source: list[Path], tmp_path: Path):
    """Two builds to two folders, one of them cut into other tasks: the same report, with the manifest's figures."""
    reports: list[bytes] = []
    skip = ("gopher-repetition", "gopher-quality", "fineweb-quality")  # the sentences are too much alike for them
    for name, task_bytes in (("one", 1 << 20), ("other", 3_000)):
        config = BuildConfig(
            input=tuple(source),
            out=tmp_path / name,
            preset="web",
            skip=skip,
            task_bytes=task_bytes,
            workers=1,
            min_chars=20,
        )
        corpus = open_artifact(build_corpus(config), "corpus")
        assert {"report.json", "report.html"} <= set(corpus.manifest["files"])
        figures = json.loads((corpus.path / "report.json").read_text(encoding="utf-8"))
        assert all(figures[key] == corpus.manifest[key] for key in ("counts", "domains", "licenses"))
        assert figures["steps"][-1]["bytes_out"] == figures["counts"]["bytes_kept"]
        assert figures["masked"]["mobile"] > 0
        text = Outline(corpus.path / "report.html").text
        assert all(reason in text for reason in figures["dropped"])
        assert PHONE not in text
        reports.append((corpus.path / "report.json").read_bytes() + (corpus.path / "report.html").read_bytes())
    assert reports[0] == reports[1]


def test_numbers_are_written_for_people():
    assert [byte_size(n) for n in (0, 999, 1234, 999_999, 12_345_678, None)] == [
        "0 bytes",
        "999 bytes",
        "1.23 kB",
        "1 MB",
        "12.3 MB",
        "–",
    ]
    assert [share(n, 100_000) for n in (0, 1, 12, 5_000, 50_000)] == ["0%", "0.0010%", "0.01%", "5.00%", "50.0%"]
    assert share(1, 0) == "–"
