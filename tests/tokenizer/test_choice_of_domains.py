"""Choosing from the corpus to the files: several domains, two forms that agree, and a size curve that is true."""

import json
from pathlib import Path

import pytest
from extending import report_of

from tokenizer.extend import ExtendConfig, extend
from tokenizer.families import read_base

DOMAINS = {
    "law": ["第一条　为了保护公民的合法权益，制定本法。\n第二条　公民享有法律规定的权利。", "本法自公布之日起施行。"],
    "food": ["先把面条煮熟，再放盐和酱油。\n青菜洗干净，切成小段。", "鸡蛋打散，放盐，小火炒熟。"],
    "story": ["从前有一个人，他每天早上沿着河边走到学校去。\n“你好！”他说。", "孩子们都很喜欢他。"],
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("domains") / "texts.jsonl"
    lines = [
        json.dumps(
            {"text": f"{text}\n其{'一二三四五六七八九十'[i % 10]}，{text}", "domain": domain}, ensure_ascii=False
        )
        for domain, texts in DOMAINS.items()
        for text in texts
        for i in range(30)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_point_of_the_curve_is_what_a_tokenizer_of_that_size_needs(tiny_tokenizer_folder, corpus, tmp_path):
    base = tiny_tokenizer_folder / "tokenizer.model"
    out = extend(ExtendConfig(base=base, corpus=(corpus,), num_new_tokens=120, out=tmp_path / "out"))
    report = report_of(out)
    assert report["num_new_tokens"] == 120
    checks = ("dead_tokens", "changed_lines", "sentencepiece_fast_mismatches", "round_trip_failures")
    assert [report["verification"][name] for name in checks] == [0, 0, 0, 0]
    texts = {domain: held_out(corpus, domain) for domain in DOMAINS}
    assert any(texts.values())
    for point in report["size_curve"]:
        tokenizer = read_base(base).extended(report["new_pieces"][: point["num_new_tokens"]])
        for domain, tokens_per_char in point["tokens_per_char"].items():
            num_chars = sum(map(len, texts[domain]))
            assert tokens_per_char == pytest.approx(tokenizer.count(texts[domain]) / num_chars)


def held_out(corpus: Path, domain: str) -> list[str]:
    from hanlm.text import in_valid_split
    from tokenizer.count import HELD_OUT_FRACTION

    rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    return [r["text"] for r in rows if r["domain"] == domain and in_valid_split(r["text"], HELD_OUT_FRACTION)]


def test_neither_the_order_of_documents_nor_workers_change_the_choice(tiny_tokenizer_folder, corpus, tmp_path):
    lines = corpus.read_text(encoding="utf-8").splitlines()
    reverse = tmp_path / "reverse.jsonl"
    reverse.write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")
    base = tiny_tokenizer_folder / "tokenizer.model"
    folders = [
        extend(ExtendConfig(base=base, corpus=(path,), num_new_tokens=100, out=tmp_path / str(n), workers=n))
        for n, path in enumerate((corpus, reverse), 1)
    ]
    assert (folders[0] / "tokenizer.model").read_bytes() == (folders[1] / "tokenizer.model").read_bytes()
