"""Token files: what is written is what megatron-core reads back, and damage is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from hanlm.artifact import MANIFEST, publish
from hanlm.errors import ArtifactError, InputError
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
    from hanlm.artifact import seal

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


def test_sixteen_bits_are_used_only_where_every_id_fits():
    assert (token_dtype(65_535), token_dtype(65_536)) == (np.uint16, np.int32)


@pytest.mark.fault(19)
def test_an_id_beyond_the_vocabulary_is_refused_when_written_and_when_opened(tmp_path):
    with pytest.raises(InputError, match="from 0 to 9"):
        write_tokens(tmp_path / "bad", [("a", "news", "zh", "train", [1, 10, 2])])
    assert not (tmp_path / "bad").exists()
    out = write_tokens(tmp_path / "tokens")
    reseal(out, vocab_size=9)
    with pytest.raises(ArtifactError, match="token id 9"):
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
