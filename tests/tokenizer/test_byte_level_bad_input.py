"""Bad input to a byte-level base: refused or passed over as with a SentencePiece one."""

import json
from pathlib import Path
from typing import Any

import pytest
from byte_bases import make_base
from extending import LINE, extended, report_of
from transformers import GPT2Config, GPT2LMHeadModel

from hanlm.errors import InputError
from hanlm.tokenizing import load_tokenizer
from tokenizer.byte_alphabet import bytes_of


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory, english_lines) -> Path:
    return make_base(tmp_path_factory.mktemp("byte-level") / "base", "gpt2", english_lines * 5)


@pytest.fixture
def copy(tokenizer_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    for file in tokenizer_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def add_model(folder: Path, num_rows: int) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=num_rows, n_embd=8, n_layer=1, n_head=1, n_positions=8)).save_pretrained(
        folder
    )


def test_a_model_of_another_size_than_its_tokenizer_is_refused(copy, text_file, tmp_path):
    size = len(load_tokenizer(copy))
    add_model(copy, size - 1)
    with pytest.raises(InputError, match=f"{size} tokens but the model only {size - 1} rows"):
        extended(copy, text_file, tmp_path / "out")
    change(copy / "config.json", vocab_size=size)
    with pytest.raises(InputError, match=f"{size - 1} rows but config.json says vocab_size {size}"):
        extended(copy, text_file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("added_tokens.json", {"<chat>": 65}, "id 65 is '<chat>'"),
        ("added_tokens.json", {"<|end|>": 9000}, "but also 9000"),
        ("special_tokens_map.json", {"eos_token": "<|pad|>"}, "eos_token is '<\\|pad\\|>'"),
        ("tokenizer_config.json", {"eos_token": "<|nothing|>"}, "'<\\|nothing\\|>', which has no id"),
    ],
)
def test_special_tokens_that_contradict_each_other_are_refused(copy, text_file, tmp_path, file, values, words):
    if not (copy / file).exists():
        (copy / file).write_text("{}")
    change(copy / file, **values)
    with pytest.raises(InputError, match=words):
        extended(copy, text_file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(16)
@pytest.mark.parametrize("text", ["", "only English 123\n", "\ue000\ue001 😀👩\u200d👩\n", "\0\n", "ひらがな 한국어\n"])
def test_a_corpus_without_chinese_is_refused(copy, tmp_path, text):
    (tmp_path / "text.txt").write_text(text * 50, encoding="utf-8")
    with pytest.raises(InputError, match="no Chinese" if text else "empty"):
        extended(copy, tmp_path / "text.txt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(13)
@pytest.mark.fault(17)
def test_what_is_no_text_is_quarantined_and_signs_become_no_part_of_a_token(copy, tmp_path):
    rows = [json.dumps({"text": f"{LINE}\0\ue000😀{i}"}, ensure_ascii=False).encode() for i in range(60)]
    rows += [b'{"text": "\\ud800' + LINE.encode() + b'"}', b'{"text": "\xff"}']
    (tmp_path / "text.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    report = report_of(extended(copy, tmp_path / "text.jsonl", tmp_path / "out", num_new_tokens=200))
    assert report["quarantined"] == {"lone_surrogate": 1, "invalid_utf8": 1}
    assert 10 < report["num_new_tokens"] < report["num_requested_tokens"] == 200
    spelled = b"".join(bytes_of(piece) or b"" for piece in report["new_pieces"])
    assert not any(sign.encode() in spelled for sign in "\0\ue000😀")
