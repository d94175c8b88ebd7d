"""Token files: what is written is what megatron-core reads back, and damage is refused."""

import json
import resource
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from hanlm.artifact import MANIFEST
from hanlm.errors import ArtifactError, InputError
from hanlm.publish import publish
from hanlm.tokens import TokenWriter, open_tokens, token_dtype

DOCUMENTS = [("a", "news", "zh", "train", [1, 5, 6, 7, 2]), ("b", "news", "zh", "train", [1, 9, 2]),
             ("c", "web", "en", "valid", [1, 4, 4, 2])]  # fmt: skip


def write_tokens(out: Path, documents=DOCUMENTS, vocab_size: int = 10) -> Path:
    with publish(out, kind="tokens", config={}, tokenizer_hash="t") as draft:
        with TokenWriter(
            folder=draft.folder, vocab_size=vocab_size, bos_token_id=1, eos_token_id=2, tokenizer_hash="t"
        ) as writer:
            for name, domain, lang, split, ids in documents:
                writer.add(ids, id=name, domain=domain, lang=lang, split=split, num_bytes=9, num_chars=3)
        draft.record(**writer.manifest_keys())
    return out


def reseal(out: Path, **changes: object) -> None:
    """Rewrite the manifest so that the hashes are right for files changed on purpose."""
    from hanlm.publish import seal

    manifest = json.loads((out / MANIFEST).read_text())
    manifest.pop("files")
    seal(out, manifest | changes)


def test_documents_come_back_in_order_with_their_table(tmp_path):
    tokens = open_tokens(write_tokens(tmp_path / "tokens"))
    opened = [(s, s.open()) for s in tokens.sets]
    read = [data[i].tolist() for s, data in opened for i in range(s.num_documents)]
    assert read == [ids for *_, ids in DOCUMENTS]
    assert [(s.path.name, s.lang, s.num_tokens, s.num_bytes) for s in tokens.sets] == [
        ("train-news", "zh", 8, 18),
        ("valid-web", "en", 4, 9),
    ]
    assert tokens.documents(split="train").select(["id", "index", "num_tokens"]).to_pylist() == [
        {"id": "a", "index": 0, "num_tokens": 5},
        {"id": "b", "index": 1, "num_tokens": 3},
    ]


def test_two_languages_of_one_domain_get_a_file_each(tmp_path):
    documents = [
        ("a", "x/y", "zh", "train", [1]),
        ("b", "x/y", "en", "train", [1]),
        ("c", "x y", "zh", "train", [1]),
    ]
    tokens = open_tokens(write_tokens(tmp_path / "tokens", documents))
    assert [s.path.name for s in tokens.sets] == ["train-x_y", "train-x_y-en", "train-x_y-zh"]


@pytest.fixture
def few_open_files() -> Generator[int]:
    """Lower this process's limit of open files to 100 more than it has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = len(list(Path("/proc/self/fd").iterdir())) + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_many_domains_need_few_open_files_to_write_and_can_all_be_read_at_once(tmp_path, few_open_files):
    documents = [
        (f"{i}-{turn}", f"site{i}", "zh", "train", [1, turn + 3, i % 7, 2])
        for turn in range(2)
        for i in range(few_open_files)
    ]
    tokens = open_tokens(write_tokens(tmp_path / "tokens", documents))
    assert len(tokens.sets) == few_open_files
    opened = [each.open() for each in tokens.sets]
    read = [data[turn].tolist() for turn in range(2) for data in opened]
    assert read == [ids for *_, ids in documents]


def test_more_data_sets_than_files_may_be_open_are_refused(tmp_path, few_open_files, monkeypatch):
    out = write_tokens(tmp_path / "tokens")
    monkeypatch.setattr("hanlm.tokens._FILES_PER_SET", resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    with pytest.raises(ArtifactError, match="fewer domains"):
        open_tokens(out)


def test_long_and_odd_domains_become_names_that_a_file_system_takes(tmp_path):
    domains = ["中文域名" * 30, "中文域名" * 30 + "二", "..", "a/../../b"]
    langs = ["zh", "zh/../x"]
    documents = [(f"{i}", domain, lang, "train", [1, 5, 2]) for i, domain in enumerate(domains) for lang in langs]
    tokens = open_tokens(write_tokens(tmp_path / "tokens", documents))
    assert [(s.domain, s.lang) for s in tokens.sets] == [(domain, lang) for domain in domains for lang in langs]
    assert len({s.path for s in tokens.sets}) == 8
    assert {s.path.parent for s in tokens.sets} == {tmp_path / "tokens"}
    opened = [each.open() for each in tokens.sets]
    assert [data[0].tolist() for data in opened] == [[1, 5, 2]] * 8


def test_sixteen_bits_are_used_only_where_every_id_fits():
    assert (token_dtype(65_535), token_dtype(65_536)) == (np.uint16, np.int32)


@pytest.mark.fault(19)
def test_an_id_beyond_the_vocabulary_is_refused_when_written_and_when_opened(tmp_path):
    with pytest.raises(InputError, match="from 0 to 9"):
        write_tokens(tmp_path / "bad", [("a", "news", "zh", "train", [1, 10, 2])])
    assert not (tmp_path / "bad").exists()
    out = write_tokens(tmp_path / "tokens")
    reseal(out, vocab_size=9)
    with pytest.raises(ArtifactError, match="token ids from 1 to 9, expected 0 to 8"):
        open_tokens(out)


@pytest.mark.fault(19)
def test_a_negative_id_is_refused_when_opened(tmp_path):
    out = write_tokens(tmp_path / "tokens", [("a", "news", "zh", "train", [1, 9, 2])], vocab_size=70_000)
    np.array([1, -1, 2], dtype=np.int32).tofile(out / "train-news.bin")
    reseal(out)
    with pytest.raises(ArtifactError, match="token ids from -1 to 2"):
        open_tokens(out)


@pytest.mark.fault(19)
def test_a_vocabulary_too_large_for_sixteen_bits_is_refused(tmp_path):
    out = write_tokens(tmp_path / "tokens")
    reseal(out, vocab_size=70_000)
    with pytest.raises(ArtifactError, match="16 bits"):
        open_tokens(out)


@pytest.mark.fault(18)
def test_a_bin_shorter_than_its_index_is_refused(tmp_path):
    out = write_tokens(tmp_path / "tokens")
    with (out / "train-news.bin").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(ArtifactError, match=r"train-news\.bin should hold 16 bytes by its index, got 10"):
        open_tokens(out)


@pytest.mark.fault(6)
def test_a_flipped_bit_is_refused_by_name(tmp_path):
    out = write_tokens(tmp_path / "tokens")
    data = bytearray((out / "train-news.bin").read_bytes())
    data[0] ^= 1
    (out / "train-news.bin").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"train-news\.bin fails its checksum"):
        open_tokens(out)


@pytest.mark.fault(16)
def test_no_documents_is_an_error_not_an_empty_artifact(tmp_path):
    with pytest.raises(InputError, match="got none"):
        write_tokens(tmp_path / "tokens", [])
    assert not (tmp_path / "tokens").exists()
