"""Byte-level BPE bases of every family's shape: trained here, extended, and read by the libraries that read them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from byte_bases import FAMILIES, gpt2, make_base
from extending import report_of
from hypothesis import example, given, settings
from texts import TEXTS
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from hanlm.errors import InputError
from hanlm.tokenizing import load_tokenizer
from tokenizer.byte_alphabet import RARE_BYTES, bytes_of, is_strong, spelled
from tokenizer.extend import ExtendConfig, extend
from tokenizer.families import read_base
from tokenizer.pieces import has_strong


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, tmp_path_factory, english_lines, chinese_file) -> tuple[Any, Any, Path]:
    """The base and the extended tokenizer as transformers load them, and the extended folder."""
    root = tmp_path_factory.mktemp(request.param)
    # A little Chinese in the base's own text: it then has some characters whole, some in part, some not at all.
    lines = [*english_lines, "的的的 我们 中文 的 我们，我们。"] * 20
    base = make_base(root / "base", request.param, lines)
    out = extend(ExtendConfig(base=base, corpus=(chinese_file,), num_new_tokens=250, out=root / "out"))
    return load_tokenizer(base), load_tokenizer(out), out


def ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
@example(text="他他他说说说的的的的的的，，，。。。")
@example(text="  “我们” 中文\n\n  的 \t的")
@example(text="f\u232a\u232a \u2329x")
@example(text="\u4dc0\u4dff\u4dbf\u3012\uff11䷀")
def test_text_without_chinese_keeps_its_ids_and_all_text_comes_back(pair, text):
    base, new, _ = pair
    if "<|" in text:
        return
    kept = "".join(char for char in text if not has_strong(char))
    assert ids(base, kept) == ids(new, kept)
    if base.decode(ids(base, text)) == text:
        assert new.decode(ids(new, text)) == text


def test_every_new_token_can_be_produced_and_is_chinese(pair):
    base, new, out = pair
    report = report_of(out)
    assert report["num_new_tokens"] > 150
    assert len(new) == len(base) + report["num_new_tokens"]
    whole = 0
    for i, piece in enumerate(report["new_pieces"], len(base)):
        data = bytes_of(piece)
        assert data is not None
        assert is_strong(data)
        text = data.decode("utf-8", "ignore")
        if text.encode() == data:
            assert ids(new, text) == [i]
            whole += 1
    assert whole > 100


@pytest.fixture(scope="module")
def extended_base(pair) -> Any:
    return read_base(pair[2])


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
@example(text="中文 abc，“我们”\n\n 的e\u0301中 👩‍🚀中")
def test_segments_are_the_pre_tokens_that_hold_chinese_with_their_characters(extended_base, text):
    segments = extended_base.segments(text, "han+punct+space")
    plain = [extended_base.plain(segment) for segment in segments]
    assert all(map(has_strong, plain))
    assert [extended_base.num_chars(segment) for segment in segments] == list(map(len, plain))
    # Nothing Chinese is left out: the rest of the text, in the same order, holds none.
    rest = extended_base.forms().main.normalised(text)
    for part in plain:
        before, found, rest = rest.partition(part.removeprefix(" ") if part not in rest else part)
        assert found
        assert not has_strong(before)
    assert not has_strong(rest)


def test_special_tokens_keep_their_ids(pair):
    base, new, _ = pair
    for token in ("<|end|>", "<|pad|>"):
        assert new.convert_tokens_to_ids(token) == base.convert_tokens_to_ids(token)
        assert ids(new, f"我{token}们")[-1] != new.convert_tokens_to_ids(token)
        assert new.convert_tokens_to_ids(token) in ids(new, f"我{token}们")


def test_the_size_curve_is_what_the_written_tokenizer_saves(pair):
    *_, out = pair
    report = report_of(out)
    end = report["size_curve"][-1]["tokens_per_char"]
    assert end
    for domain, value in end.items():
        assert value == pytest.approx(report["tokens_per_char"][domain]["extended"], abs=1e-3)
        assert value < report["tokens_per_char"][domain]["base"]


def test_an_extended_base_can_be_extended_again(pair, tmp_path, chinese_file):
    _, new, out = pair
    again = extend(
        ExtendConfig(base=out, corpus=(chinese_file,), num_new_tokens=40, prior="none", out=tmp_path / "again")
    )
    twice = load_tokenizer(again)
    assert len(twice) == len(new) + 40
    assert ids(twice, "The river runs past the old mill.") == ids(new, "The river runs past the old mill.")


def test_a_gpt2_model_gets_rows_and_its_older_files_say_the_same(tmp_path, english_lines, chinese_file):
    base = make_base(tmp_path / "base", "gpt2", english_lines * 20)
    written = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (base / "vocab.json").write_text(json.dumps(written["vocab"]), encoding="utf-8")
    (base / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in written["merges"]), "utf-8")
    size = len(load_tokenizer(base))
    config = GPT2Config(vocab_size=size, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(base)
    out = extend(ExtendConfig(base=base, corpus=(chinese_file,), num_new_tokens=60, out=tmp_path / "out"))
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.transformer.wte.weight.shape[0] == size + 60
    old = AutoModelForCausalLM.from_pretrained(base)
    assert torch.equal(model.transformer.wte.weight[:size], old.transformer.wte.weight)
    fast = AutoTokenizer.from_pretrained(out)
    older = Tokenizer(models.BPE.from_file(str(out / "vocab.json"), str(out / "merges.txt")))
    older.pre_tokenizer = gpt2()
    for text in ("他打开信，读了两遍。", "The mill, 1592 trees", "早上 下雨\n孩子们"):
        assert older.encode(text).ids == ids(fast, text)


@pytest.mark.parametrize(
    ("data", "strong"),
    [
        ("中".encode(), True),
        ("，".encode(), True),
        ("的a".encode(), True),
        (b"\xe4\xb8", True),  # U+4E00 to U+4E3F
        (b"\xe5", True),  # every character from U+5000 to U+5FFF is Han
        (b"\xe4", False),  # U+4DC0, a hexagram, begins so
        (b"\xe4\xb7", False),
        (b"\xef\xbc", False),  # full-width digits and letters
        (b"\xe3\x81", False),  # kana
        (b"\xad\x90", False),
        (b"\xb8\xad\xe5", True),
        (b"abc", False),
    ],
)
def test_bytes_are_chinese_only_where_nothing_else_is_spelled_so(data: bytes, strong: bool):
    assert is_strong(data) is strong


def test_a_unigram_or_wordpiece_tokenizer_is_refused_by_name(tmp_path, chinese_file):
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    unigram.save(str(tmp_path / "unigram.json"))
    wordpiece = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    wordpiece.save(str(tmp_path / "wordpiece.json"))
    config = {"corpus": (chinese_file,), "num_new_tokens": 9, "out": tmp_path / "out"}
    bytes_only = make_base(tmp_path / "b", "gpt2", ["x y"] * 9)
    for change, word in (
        ({"base": tmp_path / "unigram.json"}, "Unigram"),
        ({"base": tmp_path / "wordpiece.json"}, "WordPiece"),
        ({"base": bytes_only, "method": "merge-spm"}, "merge-spm"),
    ):
        with pytest.raises(InputError, match=word):
            extend(ExtendConfig(**config, **change))
    assert not (tmp_path / "out").exists()


def test_a_base_without_all_bytes_is_refused(tmp_path, chinese_file):
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    tokenizer.pre_tokenizer = gpt2()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="256 bytes"):
        read_base(tmp_path / "tokenizer.json")


def test_a_base_that_lacks_bytes_which_no_chinese_needs_is_extended(tmp_path, english_lines, chinese_file):
    """SmolLM2's alphabet has 235 bytes. Text with the others is learned from too, but for the words that hold them."""
    base = make_base(tmp_path / "base", "smollm", english_lines * 5)
    model = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    lost = {spelled(bytes([byte])) for byte in (*RARE_BYTES, 0xE4)}
    assert len(lost) > 21
    kept = {token: i for token, i in model["vocab"].items() if token not in lost}
    changed(base, model=model | {"vocab": kept})
    with pytest.raises(InputError, match="lacks 1 of the 256 bytes"):
        read_base(base)
    changed(base, model=model | {"vocab": kept | {spelled(b"\xe4"): model["vocab"][spelled(b"\xe4")]}})
    odd = tmp_path / "odd.txt"
    odd.write_text("他说，\x04\x1d。好的，\U00050000。\n" * 30, encoding="utf-8")
    out = extend(ExtendConfig(base=base, corpus=(chinese_file, odd), num_new_tokens=60, out=tmp_path / "out"))
    assert report_of(out)["num_new_tokens"] == 60
    old, new = load_tokenizer(base), load_tokenizer(out)
    assert ids(old, "a\x04b 3") == ids(new, "a\x04b 3")
    text = "酒店的房间很干净，我们下次还会住这里。"
    assert new.decode(ids(new, text)) == text
    assert len(ids(new, text)) < len(ids(old, text)) / 1.4


def changed(folder: Path, **parts: Any) -> Path:
    fast = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(fast | parts), encoding="utf-8")
    return folder


def test_truncation_and_padding_in_the_file_are_no_part_of_the_tokenizer(tmp_path, english_lines, chinese_file):
    base = make_base(tmp_path / "base", "gpt2", english_lines * 5)
    plain = read_base(base).forms().encode(["a long text, longer than eight tokens, surely", "x"])
    truncation = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 40}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
    changed(base, truncation=truncation, padding=padding | {"pad_to_multiple_of": None})
    assert read_base(base).forms().encode(["a long text, longer than eight tokens, surely", "x"]) == plain
    out = extend(ExtendConfig(base=base, corpus=(chinese_file,), num_new_tokens=50, out=tmp_path / "out"))
    assert report_of(out)["num_new_tokens"] == 50


def test_a_normalizer_that_makes_chinese_of_other_characters_is_refused(tmp_path, english_lines):
    base = make_base(tmp_path / "base", "gpt2", english_lines * 5)
    with pytest.raises(InputError, match="normalises"):
        read_base(changed(base, normalizer={"type": "NFKC"}))
    read_base(changed(base, normalizer={"type": "NFC"}))


def test_a_configuration_that_leaves_the_tie_to_its_class_is_understood(tmp_path, english_lines, chinese_file):
    base = make_base(tmp_path / "base", "gpt2", english_lines * 20)
    size = len(load_tokenizer(base))
    GPT2LMHeadModel(GPT2Config(vocab_size=size + 10, n_embd=16, n_layer=1, n_head=2, n_positions=64)).save_pretrained(
        base
    )
    config = json.loads((base / "config.json").read_text())
    config.pop("tie_word_embeddings", None)
    # An id among the padding rows that the configuration names must not become a new token's.
    (base / "config.json").write_text(json.dumps(config | {"pad_token_id": size + 3}))
    out = extend(ExtendConfig(base=base, corpus=(chinese_file,), num_new_tokens=30, out=tmp_path / "out"))
    report = report_of(out)
    assert report["num_base_tokens"] == size + 4
    assert AutoModelForCausalLM.from_pretrained(out).transformer.wte.weight.shape[0] == size + 34


THREADS = """
import sys
from pathlib import Path
from tokenizer.encode import Fast
from tokenizer.extend import ExtendConfig, extend

num_started = 0

def num_threads():
    return len(list(Path("/proc/self/task").iterdir()))

def counting(encode):
    def counted(self, texts):
        global num_started
        before = num_threads()
        ids = encode(self, texts)
        num_started += num_threads() - before
        return ids
    return counted

Fast.encode, Fast.encode_words = counting(Fast.encode), counting(Fast.encode_words)
base, corpus, out, workers = sys.argv[1:]
extend(ExtendConfig(base=Path(base), corpus=(Path(corpus),), num_new_tokens=50, out=Path(out), workers=int(workers)))
print(num_started)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux lists them")
def test_the_encoding_library_starts_as_many_threads_as_workers_are_asked_for(tmp_path, english_lines, chinese_file):
    base = make_base(tmp_path / "base", "gpt2", english_lines * 5)
    for workers in (1, 5):
        words = [base, chinese_file, tmp_path / str(workers), workers]
        done = subprocess.run(
            [sys.executable, "-c", THREADS, *map(str, words)], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == workers
