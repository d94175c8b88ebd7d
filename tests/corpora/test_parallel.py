"""Parallel text becomes bilingual documents: every pair once and in order, the look decided by the content."""

import gzip
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slices import read_all

from corpora.sources import pairs as reading
from corpora.sources.bilingual import Pair, pack, render, rng_by_hash
from corpora.sources.parallel import ParallelConfig, is_bilingual
from corpora.sources.raw_file import RawFile
from corpora.sources.source import Source
from hanlm.errors import ConfigError
from hanlm.quarantine import Quarantine
from hanlm.streams import open_stream

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with other things is no fault."""
PAIRS = [Pair("早上好。", "Good morning.", "a"), Pair("你去哪里？", "Where are you going?", "b")]


def read_pairs(path: Path, quarantine: Quarantine, config: ParallelConfig) -> Iterator[Pair]:
    file = RawFile(label=str(path), name=path.name, open=partial(open_stream, path))
    return reading.read_pairs(file, Source(path=path, parallel=config), quarantine)


class Fixed(Random):
    """Draws one order and the first template."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        return self.value

    def randrange(self, *_: int) -> int:
        return 0


def rendered(template: str, *, chinese_first: bool) -> str:
    config = ParallelConfig(templates=(template,))  # pyright: ignore[reportArgumentType]
    return render(PAIRS, config, lambda _: Fixed(0.9 if chinese_first else 0.1)).text


def test_the_templates_in_both_orders():
    assert rendered("lines", chinese_first=True) == "早上好。\nGood morning.\n你去哪里？\nWhere are you going?"
    assert rendered("lines", chinese_first=False) == "Good morning.\n早上好。\nWhere are you going?\n你去哪里？"
    assert rendered("paragraphs", chinese_first=True) == "早上好。\n你去哪里？\n\nGood morning.\nWhere are you going?"
    assert (
        rendered("labelled", chinese_first=True)
        == "中文：早上好。\n英文：Good morning.\n\n中文：你去哪里？\n英文：Where are you going?"
    )
    assert rendered("labelled", chinese_first=False).startswith("English: Good morning.\nChinese: 早上好。\n\n")


def test_documents_are_of_both_languages_and_of_their_own_domain():
    document = render(PAIRS, ParallelConfig())
    assert (document.id, document.lang, document.domain) == ("a", "zh-en", "parallel")
    assert [is_bilingual(lang) for lang in ("zh-en", "en-zh", "zh-Hant", "zh-TW", "zh", "")] == [True] * 2 + [False] * 4


def test_content_alone_decides_the_look_and_every_look_comes_up():
    config = ParallelConfig()
    looks: Counter[str] = Counter()
    for i in range(600):
        pairs = [Pair(f"第{i}句话。", f"Sentence {i}."), Pair("再见。", "Bye.")]
        text = render(pairs, config).text
        moved = [Pair(p.first, p.second, id=f"other-{i}", source="elsewhere") for p in pairs]
        assert render(moved, config).text == text
        kind = "labelled" if "：" in text or ": " in text else "paragraphs" if "\n\n" in text else "lines"
        looks[f"{kind} {'zh' if text[0] in '第中' else 'en'}"] += 1
    assert len(looks) == 6
    assert min(looks.values()) > 60
    assert rng_by_hash(PAIRS).random() != rng_by_hash(PAIRS[::-1]).random()


@UNHURRIED
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30))), st.integers(1, 100))
def test_packing_keeps_every_pair_in_order_and_documents_below_the_limit(texts: list[tuple[str, str]], limit: int):
    pairs = [Pair(a, b) for a, b in texts]
    packed = list(pack(pairs, limit))
    assert [pair for group in packed for pair in group] == pairs
    sizes = [[len(p.first) + len(p.second) for p in group] for group in packed]
    assert all(sum(size) <= limit or len(size) == 1 for size in sizes)
    for size, following in pairwise(sizes):
        assert sum(size) + following[0] > limit


@pytest.mark.parametrize("config", [ParallelConfig(), ParallelConfig(fields=("source_text", "target_text"))])
def test_json_lines_are_read_by_language_by_src_and_tgt_or_by_given_fields(tmp_path: Path, config: ParallelConfig):
    names = [config.fields] if config.fields else [("zh", "en"), ("src", "tgt")]
    path = tmp_path / "pairs.jsonl.gz"
    rows = [{a: f"你好{i}", b: f" hello {i} ", "id": f"n{i}", "license": "CC0"} for i, (a, b) in enumerate(names)]
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    pairs = list(read_pairs(path, Quarantine(), config))
    assert pairs == [Pair(f"你好{i}", f"hello {i}", f"n{i}", "pairs.jsonl.gz", "CC0") for i in range(len(names))]


@pytest.mark.fault(13)
@pytest.mark.fault(14)
def test_what_is_no_pair_is_quarantined_and_every_line_is_counted(tmp_path: Path):
    tsv, lines = tmp_path / "pairs.tsv", tmp_path / "pairs.jsonl"
    tsv.write_bytes("你好\thello\tCC0\n只有一边\n\n 	空\n".encode() + b"\xff\xfe\tx\n" + "再见\tbye".encode())
    quarantine = Quarantine()
    pairs = list(read_pairs(tsv, quarantine, ParallelConfig()))
    assert [(p.first, p.second, p.id) for p in pairs] == [("你好", "hello", "pairs:1"), ("再见", "bye", "pairs:6")]
    assert quarantine.counts == {"missing_field": 1, "empty_side": 1, "invalid_utf8": 1}
    assert quarantine.num_seen == 5
    rows = ['{"zh": "好", "en": "good"}', '{"zh": "好"}', '{"zh": null, "en": "x"}', '{"zh": 3, "en": "x"}', "{"]
    lines.write_text("\n".join(rows), encoding="utf-8")
    quarantine = Quarantine()
    assert len(list(read_pairs(lines, quarantine, ParallelConfig()))) == 1
    assert quarantine.counts == {"missing_field": 1, "null_field": 1, "wrong_type": 1, "malformed_json": 1}
    assert quarantine.num_seen == 5


def test_columns_and_languages_are_configured(tmp_path: Path):
    path = tmp_path / "tatoeba.tsv"
    path.write_text("1\tGuten Morgen.\t2\t早上好。\n", encoding="utf-8")
    config = ParallelConfig(languages=("zh", "de"), columns=(3, 1), templates=("labelled",))
    [[document], _, _] = read_all(Source(path=path, parallel=config))
    assert document.lang == "zh-de"
    assert document.text in ("中文：早上好。\n德文：Guten Morgen.", "German: Guten Morgen.\nChinese: 早上好。")


def test_files_of_any_encoding_and_name_are_read_and_those_in_archives_too(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [f"第{i}句话说的是天气。\tSentence {i} is about the weather." for i in range(9)]
    raw = "\n".join(lines).encode("gb18030") + b"\n\xff\xff\tx\n"
    Path(os.fsdecode(bytes(folder) + b"/\xb6\xd4.tsv")).write_bytes(raw)
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("more.tsv", "再见\tbye")
    documents, quarantine, _ = read_all(Source(path=folder, parallel=ParallelConfig(templates=("lines",))))
    assert sum("再见" in document.text for document in documents) == 1
    assert all(line.partition("\t")[0] in documents[-1].text + documents[0].text for line in lines)
    assert (quarantine.counts, quarantine.num_seen) == ({"invalid_gb18030": 1}, 11)


def test_impossible_configurations_are_refused():
    for options in (
        {"languages": ("zh", "zh")},
        {"languages": ("zh", "tlh")},
        {"columns": (1, 1)},
        {"templates": ("verse",)},
        {"templates": ()},
        {"max_chars": 0},
    ):
        with pytest.raises(ConfigError, match="parallel text"):
            ParallelConfig(**options)  # pyright: ignore[reportArgumentType]
