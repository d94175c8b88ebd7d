"""tiktoken rank files, held against the library tiktoken itself."""

import base64
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from extending import report_of
from hypothesis import given, settings
from texts import TEXTS

from hanlm.errors import InputError
from hanlm.tokenizing import load_tokenizer
from tokenizer import rank_file
from tokenizer.byte_alphabet import bytes_of
from tokenizer.extend import ExtendConfig, extend
from tokenizer.families import read_base
from tokenizer.pieces import has_strong
from tokenizer.rank_file import PUBLISHERS, Publisher, read_ranks


def write_ranks(path: Path, lines: list[str], size: int) -> dict[bytes, int]:
    """Train ranks as tiktoken does, in the plainest way, and write them."""
    words = [[bytes([b]) for b in line.encode()] for line in lines]
    ranks = {bytes([b]): b for b in range(256)}
    while len(ranks) < size:
        counts: dict[bytes, int] = {}
        for word in words:
            for left, right in pairwise(word):
                counts[left + right] = counts.get(left + right, 0) + 1
        best = max(counts, key=lambda token: (counts[token], token))
        ranks[best] = len(ranks)
        for word in words:
            i = 0
            while i < len(word) - 1:
                if word[i] + word[i + 1] == best:
                    word[i : i + 2] = [best]
                i += 1
    path.write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % r for t, r in ranks.items()))
    return ranks


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    return Publisher(
        "Test", PUBLISHERS[128_000].pattern, ("<|a|>", "<|b|>"), {"bos_token": "<|a|>", "eos_token": "<|b|>"}
    )


@pytest.fixture(scope="module")
def extended(tmp_path_factory, publisher, english_lines, chinese_file) -> Path:
    root = tmp_path_factory.mktemp("ranks")
    lines = " ".join([*english_lines, "我们 的 中文"]).split(" ")
    write_ranks(root / "small.tiktoken", [f" {word}" for word in lines], 330)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_file, "PUBLISHERS", {330: publisher})
        return extend(
            ExtendConfig(base=root / "small.tiktoken", corpus=(chinese_file,), num_new_tokens=200, out=root / "out")
        )


def encoding_of(file: Path, publisher: Publisher) -> tiktoken.Encoding:
    ranks = read_ranks(file.read_bytes())
    assert ranks is not None
    special = {content: i for i, content in enumerate(publisher.special, 330)}
    return tiktoken.Encoding("test", pat_str=publisher.pattern, mergeable_ranks=ranks, special_tokens=special)


@pytest.fixture(scope="module")
def encoding(extended, publisher) -> tiktoken.Encoding:
    return encoding_of(extended / "tokenizer.tiktoken", publisher)


@pytest.fixture(scope="module")
def base_encoding(extended, publisher) -> tiktoken.Encoding:
    return encoding_of(extended.parent / "small.tiktoken", publisher)


@pytest.fixture(scope="module")
def loaded(extended) -> Any:
    return load_tokenizer(extended)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_tiktoken_and_transformers_agree_on_every_text_and_give_it_back(loaded, encoding, text):
    ids = encoding.encode_ordinary(text)
    assert loaded.encode(text, add_special_tokens=False) == ids
    assert encoding.decode(ids) == loaded.decode(ids) == text


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_text_without_chinese_keeps_the_ids_of_the_base_s_ranks(base_encoding, encoding, text):
    kept = "".join(char for char in text if not has_strong(char))
    assert encoding.encode_ordinary(kept) == base_encoding.encode_ordinary(kept)


def test_every_new_token_is_what_tiktoken_makes_of_its_text(extended, encoding):
    report = report_of(extended)
    assert report["num_base_tokens"] == 332
    assert report["num_new_tokens"] > 100
    for i, piece in enumerate(report["new_pieces"], 332):
        data = bytes_of(piece)
        assert data is not None
        assert encoding._encode_single_piece(data) == [i]


def test_the_text_begins_with_the_publishers_bos(extended):
    assert load_tokenizer(extended).encode("a")[0] == 330


def test_an_unknown_rank_file_is_refused_with_the_known_sizes(tmp_path):
    write_ranks(tmp_path / "other.tiktoken", ["hello"], 256)
    with pytest.raises(InputError, match=r"128,000.*tokenizer.json"):
        read_base(tmp_path / "other.tiktoken")


@pytest.mark.parametrize("content", [b"", b"IQ== 0\nIg== x\n", b"not base64! 1\n", b"IQ==\n"])
def test_what_is_no_rank_file_is_not_taken_for_one(content: bytes):
    assert read_ranks(content) is None


SHARED = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the published rank files")
@pytest.mark.parametrize(("name", "size"), [("llama3-tiktoken.tokenizer.model", 128_000), ("qwen.tiktoken", 151_643)])
def test_published_rank_files_are_tokenized_as_tiktoken_does(name: str, size: int):
    base = read_base(SHARED / name)
    ranks = read_ranks((SHARED / name).read_bytes())
    assert ranks is not None
    encoding = tiktoken.Encoding("t", pat_str=PUBLISHERS[size].pattern, mergeable_ranks=ranks, special_tokens={})
    texts = [
        "他打开信，读了两遍。",
        "It's 12345 o'clock;\r\n\n  def f(x): return x",
        "混排 English 与 123，龘！",
        "🙂 ½ ＡＢ",
    ]
    assert base.forms().encode(texts) == [encoding.encode_ordinary(text) for text in texts]


def test_the_written_ranks_hold_no_special_token(extended, publisher):
    ranks = read_ranks((extended / "tokenizer.tiktoken").read_bytes())
    assert ranks is not None
    assert not {content.encode() for content in publisher.special} & ranks.keys()


def test_a_rank_file_follows_a_second_extension(extended, chinese_file, tmp_path):
    again = extend(
        ExtendConfig(base=extended, corpus=(chinese_file,), num_new_tokens=20, prior="none", out=tmp_path / "again")
    )
    first, second = (read_ranks((folder / "tokenizer.tiktoken").read_bytes()) for folder in (extended, again))
    assert first is not None
    assert second is not None
    assert first.items() < second.items()
    assert len(second) == len(first) + 20
