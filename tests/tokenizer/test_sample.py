"""A corpus that is larger than what is learned from: the same sample for everyone, small domains whole."""

import json
from pathlib import Path

import pytest
from extending import report_of
from hypothesis import given
from hypothesis import strategies as st

from hanlm.artifact import read_manifest
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.text import in_valid_split
from tokenizer.extend import ExtendConfig, extend
from tokenizer.sample import fair_share, plan_sample


@given(st.lists(st.integers(1, 1000), min_size=1), st.integers(1, 20_000))
def test_a_fair_share_fills_the_room_and_cuts_no_small_domain(sizes, total):
    room = fair_share(sizes, total)
    taken = sum(min(size, room) for size in sizes)
    assert taken == pytest.approx(min(total, sum(sizes)))
    assert all(size <= room or room >= total / len(sizes) - 1e-6 for size in sizes)


def write(path: Path, order: int) -> Path:
    rows = [{"id": f"{d}{i}", "domain": d, "text": f"第{i}篇，{d}。" + "天地玄黄宇宙洪荒" * 5}
            for d, n in (("large", 900), ("small", 40)) for i in range(n)]  # fmt: skip
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[::order]), encoding="utf-8")
    return path


def test_the_texts_decide_what_is_taken_not_their_order(tmp_path):
    files = write(tmp_path / "a.jsonl", 1), write(tmp_path / "b.jsonl", -1)
    samples = [plan_sample([file], 15_000) for file in files]
    assert samples[0] == samples[1]
    assert set(samples[0].shares) == {"large"}
    taken = [document for document in read_documents([files[0]], Quarantine()) if document.domain == "large"]
    share = sum(map(samples[0].takes, taken)) / len(taken)
    assert share == pytest.approx(samples[0].shares["large"], abs=0.05)


def test_a_corpus_that_fits_is_taken_whole(tmp_path):
    assert not plan_sample([write(tmp_path / "a.jsonl", 1)], 10_000_000).shares


def test_the_manifest_tells_the_sample(tmp_path, tiny_tokenizer_folder):
    corpus = write(tmp_path / "a.jsonl", 1)
    config = ExtendConfig(
        base=tiny_tokenizer_folder, corpus=(corpus,), num_new_tokens=9, max_chars=15_000, out=tmp_path / "out"
    )
    manifest = read_manifest(extend(config))
    assert manifest is not None
    assert manifest["sample"]["small"]["share"] == 1
    assert 0.1 < manifest["sample"]["large"]["share"] < 0.5
    assert manifest["counts"]["documents_in"] < 500


def test_a_text_that_the_split_holds_out_whole_is_learned_from_all_the_same(tmp_path, tiny_tokenizer_folder):
    lines = (f"{i}，心肌梗死患者应立即溶栓治疗。" for i in range(9999))
    line = next(line for line in lines if in_valid_split(line, 0.02))
    text = tmp_path / "one.txt"
    text.write_text(f"{line}\n" * 50, encoding="utf-8")
    config = ExtendConfig(
        base=tiny_tokenizer_folder, corpus=(text,), num_new_tokens=5, prior="none", out=tmp_path / "out"
    )
    report = report_of(extend(config))
    assert report["num_new_tokens"] == 5
    assert report["measured_on"].startswith("the training text itself")
