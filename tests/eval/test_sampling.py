"""Samples of documents: deterministic, independent of file order, nested, within their limits."""

import random
from pathlib import Path

import pytest

from eval.sampling import SampleLimits, num_bytes, read_data, sample_documents
from hanlm.config import split_named_path
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.records import Document


def document(i: int, domain: str) -> Document:
    return Document(str(i), f"第{i}篇 " + "好" * (i % 13 + 1), domain, "zh", "test", "")


DOCUMENTS = [document(i, "news" if i % 3 else "reviews") for i in range(300)]


def limits(max_documents: int | None = None, max_bytes: int | None = None, seed: int = 0) -> SampleLimits:
    return SampleLimits(max_documents=max_documents, max_bytes=max_bytes, seed=seed)


def test_sample_does_not_depend_on_the_order_of_the_files():
    shuffled = random.Random(0).sample(DOCUMENTS, len(DOCUMENTS))
    first, second = (sample_documents(docs, limits(20, 500)) for docs in (DOCUMENTS, shuffled))
    assert first.documents == second.documents
    assert first.documents_hash == second.documents_hash


def test_another_seed_draws_other_documents():
    first, second = (sample_documents(DOCUMENTS, limits(20, seed=seed)) for seed in (0, 1))
    assert first.documents_hash != second.documents_hash


def test_a_larger_limit_adds_to_a_smaller_one():
    small, large = (set(sample_documents(DOCUMENTS, limits(n)).documents) for n in (10, 40))
    assert small < large


@pytest.mark.parametrize("max_bytes", [1, 60, 1000])
def test_limits_hold_in_every_domain_and_leave_at_least_one_document(max_bytes: int):
    sample = sample_documents(DOCUMENTS, limits(30, max_bytes))
    for domain in ("news", "reviews"):
        chosen = [d for d in sample.documents if d.domain == domain]
        assert 1 <= len(chosen) <= 30
        assert sum(num_bytes(d.text) for d in chosen) <= max_bytes or len(chosen) == 1
    assert sample.num_read == {"news": 200, "reviews": 100}


def test_byte_limit_takes_the_same_prefix_however_documents_arrive():
    """Not merely what fits: a document that came late must not slip in behind one that was turned away."""
    results = {
        tuple(d.id for d in sample_documents(random.Random(i).sample(DOCUMENTS, 300), limits(None, 400)).documents)
        for i in range(10)
    }
    assert len(results) == 1


def test_empty_documents_are_counted_and_nothing_but_empty_is_refused():
    empty = Document("e", "", "news", "", "", "")
    assert sample_documents([empty, *DOCUMENTS], limits()).num_empty == 1
    with pytest.raises(InputError, match="only empty or unreadable ones"):
        sample_documents([empty], limits())


@pytest.mark.fault(13)
def test_a_line_of_invalid_utf8_is_set_aside_and_its_neighbours_are_scored(tmp_path: Path):
    file = tmp_path / "data.jsonl"
    file.write_bytes('{"text": "前"}\n'.encode() + b'{"text": "\xff"}\n' + '{"text": "后"}\n'.encode())
    quarantine = Quarantine(None)
    sample = sample_documents(read_data([str(file)], quarantine, txt_unit="file", max_quarantined=0.5), limits())
    assert sorted(d.text for d in sample.documents) == sorted(["前", "后"])
    assert quarantine.counts == {"invalid_utf8": 1}


def test_data_may_be_given_a_domain(tmp_path: Path):
    file = tmp_path / "a.txt"
    file.write_text("好", encoding="utf-8")
    (document,) = read_data([f"novels={file}"], Quarantine(None), txt_unit="file")
    assert document.domain == "novels"


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path):
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert split_named_path(str(odd)) == (None, odd)
    assert split_named_path("name=some/dir") == ("name", Path("some/dir"))


@pytest.mark.fault(14)
def test_records_without_text_are_called_so_even_where_nothing_else_is_there(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"content": "hello"}\n' * 3, encoding="utf-8")
    with pytest.raises(InputError, match="got 3 of 3: missing_field: 3"):
        sample_documents(read_data([str(file)], Quarantine(None), txt_unit="file"), limits())


def test_texts_that_name_no_language_are_chinese_where_they_are_written_in_han(tmp_path: Path):
    (tmp_path / "a.txt").write_text("他打开信，读了两遍 (twice)。", encoding="utf-8")
    (tmp_path / "b.txt").write_text("She read 信 twice.", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"text": "読んだ本", "lang": "ja"}\n', encoding="utf-8")
    read = [document.lang for document in read_data([str(tmp_path)], Quarantine(None), txt_unit="file")]
    told = [document.lang for document in read_data([str(tmp_path)], Quarantine(None), txt_unit="file", lang="en")]
    assert read == ["zh", "", "ja"]
    assert told == ["en", "en", "ja"]
