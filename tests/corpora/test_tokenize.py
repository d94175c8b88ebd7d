"""``hanlm corpus tokenize``: token files as transformers would encode, with real SentencePiece and megatron-core."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpora.build import BuildConfig, build
from corpora.tokenize import TokenizeConfig, plan, tokenize
from corpora.tokens.encoding import Encoder
from hanlm.artifact import open_artifact
from hanlm.errors import ArtifactError, ConfigError, InputError
from hanlm.publish import work_folder
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.tokenizing import document_ids, load_tokenizer, require_same_tokenizer, tokenizer_hash
from hanlm.tokens import open_tokens


@pytest.fixture(scope="module")
def mixed_corpus(tmp_path_factory: pytest.TempPathFactory, chinese_file: Path, english_file: Path) -> Path:
    """Two domains, both splits, and a text that spells a special token."""
    folder = tmp_path_factory.mktemp("corpus")
    odd = folder / "odd.jsonl"
    texts = ["标签 </s> 出现在正文里 <pad>", "两个  空格\n\n缩进\n    return x", "🀄️龘𠮷é"]
    odd.write_text("\n".join(json.dumps({"text": t, "lang": "zh"}) for t in texts), encoding="utf-8")
    config = BuildConfig(
        input=(chinese_file, english_file, odd), out=folder / "corpus", valid_fraction=0.1, min_han_ratio=0.0
    )
    return build(config)


@pytest.fixture(scope="module")
def tokens_folder(tmp_path_factory: pytest.TempPathFactory, mixed_corpus: Path, tiny_model_folder: Path) -> Path:
    out = tmp_path_factory.mktemp("tokens") / "tokens"
    return tokenize(TokenizeConfig(corpus=(mixed_corpus,), tokenizer=tiny_model_folder, out=out, workers=1))


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "manifest.json"}


def test_every_document_is_stored_as_transformers_encodes_it(
    tokens_folder: Path, mixed_corpus: Path, tiny_model_folder: Path
):
    tokenizer = load_tokenizer(tiny_model_folder)
    tokens = open_tokens(tokens_folder)
    stored: dict[tuple[str, str], list[list[int]]] = {}
    for each in tokens.sets:
        indexed = each.open()
        stored[each.split, each.domain] = [indexed[i].tolist() for i in range(each.num_documents)]
    expected: dict[tuple[str, str], list[list[int]]] = {}
    for split in ("train", "valid"):
        for document in read_documents([mixed_corpus], Quarantine(), split=split):
            ids = document_ids(tokenizer, [document.text])[0]
            assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
            expected.setdefault((split, document.domain), []).append(ids)
    assert stored == expected
    assert len(stored) >= 5


def test_the_ids_between_bos_and_eos_decode_to_the_text(
    tokens_folder: Path, mixed_corpus: Path, tiny_model_folder: Path
):
    tokenizer = load_tokenizer(tiny_model_folder)
    each = next(s for s in open_tokens(tokens_folder).sets if (s.split, s.domain) == ("train", "story"))
    texts = [d.text for d in read_documents([mixed_corpus], Quarantine()) if d.domain == "story"]
    indexed = each.open()
    decoded = [tokenizer.decode(indexed[i][1:-1].tolist()) for i in range(20)]
    assert decoded == texts[:20]


def test_the_table_of_documents_counts_bytes_characters_and_tokens(tokens_folder: Path, mixed_corpus: Path):
    tokens = open_tokens(tokens_folder)
    for split in ("train", "valid"):
        rows = tokens.documents(split=split).to_pylist()
        documents = list(read_documents([mixed_corpus], Quarantine(), split=split))
        assert [(r["id"], r["num_bytes"], r["num_chars"]) for r in rows] == [
            (d.id, len(d.text.encode()), len(d.text)) for d in documents
        ]
        assert sum(r["num_tokens"] for r in rows) == sum(s.num_tokens for s in tokens.sets if s.split == split)


def test_both_engines_and_any_number_of_workers_write_the_same_bytes(
    tmp_path: Path, tokens_folder: Path, mixed_corpus: Path, tiny_model_folder: Path
):
    assert open_artifact(tokens_folder, "tokens").manifest["engine"] == "sentencepiece"
    config = TokenizeConfig(
        corpus=(mixed_corpus,), tokenizer=tiny_model_folder, out=tmp_path / "fast", engine="fast", workers=2
    )
    assert content(tokenize(config)) == content(tokens_folder)


def test_a_sentencepiece_model_that_disagrees_is_not_used(tmp_path: Path, tiny_tokenizer_folder: Path):
    folder = tmp_path / "tokenizer"
    shutil.copytree(tiny_tokenizer_folder, folder)
    parts = json.loads((folder / "tokenizer.json").read_text())
    parts["model"]["merges"] = parts["model"]["merges"][:5]
    (folder / "tokenizer.json").write_text(json.dumps(parts))
    encoder = Encoder(folder)
    assert encoder.engine == "fast"
    assert encoder.agrees_on(["the river runs", "汉字"])
    with pytest.raises(InputError, match="--engine fast"):
        Encoder(folder, engine="sentencepiece")


def test_several_corpora_become_one_set_of_tokens(
    tmp_path: Path, chinese_file: Path, english_file: Path, tiny_tokenizer_folder: Path
):
    a = build(BuildConfig(input=(chinese_file,), out=tmp_path / "a", valid_fraction=0.0))
    b = build(BuildConfig(input=(english_file,), out=tmp_path / "b", valid_fraction=0.0))
    out = tokenize(TokenizeConfig(corpus=(a, b), tokenizer=tiny_tokenizer_folder, out=tmp_path / "t", workers=1))
    assert {(s.domain, s.lang, s.num_documents) for s in open_tokens(out).sets} == {
        ("story", "zh", 400),
        ("notes", "en", 200),
    }
    assert open_artifact(out, "tokens").manifest["licenses"] == {"": 600}


def test_a_plan_names_the_corpus_and_writes_nothing(tmp_path: Path, mixed_corpus: Path, tiny_tokenizer_folder: Path):
    lines = plan(TokenizeConfig(corpus=(mixed_corpus,), tokenizer=tiny_tokenizer_folder, out=tmp_path / "t"))
    assert "603 documents" in lines[0]
    assert not (tmp_path / "t").exists()
    with pytest.raises(ConfigError, match="--corpus"):
        TokenizeConfig(corpus=(), tokenizer=tiny_tokenizer_folder, out=tmp_path / "t")


def refuse(error: type[Exception], match: str, **options: Any) -> None:
    config = TokenizeConfig(workers=1, **options)
    with pytest.raises(error, match=match):
        tokenize(config)
    assert not config.out.exists()


@pytest.mark.fault(16)
def test_missing_and_foreign_input_is_refused(tmp_path: Path, mixed_corpus: Path, tiny_tokenizer_folder: Path):
    out, tokenizer = tmp_path / "t", tiny_tokenizer_folder
    refuse(InputError, "there is nothing", corpus=(tmp_path / "none",), tokenizer=tokenizer, out=out)
    refuse(ArtifactError, "manifest.json is missing", corpus=(tokenizer,), tokenizer=tokenizer, out=out)
    refuse(InputError, "tokenizer", corpus=(mixed_corpus,), tokenizer=tmp_path, out=out)


def test_a_corpus_is_not_tokenized_twice(tmp_path: Path, mixed_corpus: Path):
    same = mixed_corpus / ".." / mixed_corpus.name
    with pytest.raises(ConfigError, match="each corpus once"):
        TokenizeConfig(corpus=(mixed_corpus, same), tokenizer=tmp_path, out=tmp_path / "t")


@pytest.mark.fault(6)
def test_a_damaged_corpus_is_refused(tmp_path: Path, chinese_file: Path, tiny_tokenizer_folder: Path):
    corpus = build(BuildConfig(input=(chinese_file,), out=tmp_path / "corpus"))
    shard = corpus / "train-00000.jsonl.zst"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    refuse(ArtifactError, "checksum", corpus=(corpus,), tokenizer=tiny_tokenizer_folder, out=tmp_path / "t")


@pytest.mark.fault(4)
def test_a_full_disk_costs_nothing_that_was_there(
    tmp_path: Path,
    mixed_corpus: Path,
    tokens_folder: Path,
    tiny_model_folder: Path,
    full_disk: Callable[..., str],
):
    out = tmp_path / "tokens"
    shutil.copytree(tokens_folder, out)
    options = ["--corpus", mixed_corpus, "--tokenizer", tiny_model_folder, "--out", out, "--overwrite"]
    full_disk(20_000, "corpus", "tokenize", *options)
    assert content(out) == content(tokens_folder)
    assert not (work_folder(out) / "result").exists()


@pytest.mark.fault(18)
def test_tokens_cut_short_are_refused_when_they_are_opened(tmp_path: Path, tokens_folder: Path):
    folder = tmp_path / "tokens"
    shutil.copytree(tokens_folder, folder)
    cut = folder / "train-story.bin"
    cut.write_bytes(cut.read_bytes()[:-2])
    with pytest.raises(ArtifactError, match=r"train-story\.bin"):
        open_tokens(folder)


@pytest.mark.fault(19)
def test_a_vocabulary_too_large_for_16_bits_is_stored_in_32(
    tmp_path: Path, chinese_file: Path, tiny_tokenizer_folder: Path
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_tokenizer_folder, folder)
    (folder / "config.json").write_text('{"vocab_size": 70000}')
    corpus = build(BuildConfig(input=(chinese_file,), out=tmp_path / "corpus"))
    out = tokenize(TokenizeConfig(corpus=(corpus,), tokenizer=folder, out=tmp_path / "t", workers=1))
    tokens = open_tokens(out)
    assert tokens.vocab_size == 70_000
    assert tokens.sets[0].open().index.dtype == np.int32


@pytest.mark.fault(19)
def test_a_model_with_fewer_rows_than_the_tokenizer_has_tokens_is_refused(
    tmp_path: Path, mixed_corpus: Path, tiny_tokenizer_folder: Path
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_tokenizer_folder, folder)
    (folder / "config.json").write_text('{"vocab_size": 100}')
    refuse(InputError, "tokenizer of at most 100 tokens", corpus=(mixed_corpus,), tokenizer=folder, out=tmp_path / "t")


@pytest.mark.fault(20)
def test_tokens_name_the_tokenizer_that_made_them(tokens_folder: Path, tiny_model_folder: Path):
    tokens = open_tokens(tokens_folder)
    assert tokens.tokenizer_hash == tokenizer_hash(tiny_model_folder)
    assert open_artifact(tokens_folder, "tokens").manifest["tokenizer_hash"] == tokens.tokenizer_hash
    with pytest.raises(ArtifactError, match="run `hanlm corpus tokenize`"):
        require_same_tokenizer("tokens", tokens.tokenizer_hash, "m", "0" * 64, "run `hanlm corpus tokenize` again.")
