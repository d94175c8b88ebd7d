"""Bases whose files contradict each other, and bases that were extended before: refused by name, or told about."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from extending import LINE, extended, report_of
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from hanlm.cli import main
from tokenizer.extend import ExtendConfig, extend
from tokenizer.proto import NORMAL, parse_proto


def change(path: Path, edit: Callable[[dict], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    edit(value)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def refusal(base: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Type the command; return the one sentence it says before it leaves with 2 and nothing written."""
    out = base.parent / "out"
    words = ["extend-vocab", "--base", base, "--corpus", corpus, "--num-new-tokens", 9, "--out", out]
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    said = capsys.readouterr().err
    assert left.value.code == 2, said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    assert not out.exists()
    assert not (base.parent / "out.work" / "result").exists()
    return said


def add(base: Path, content: str, *, special: bool, normalized: bool = False, rows: int = 1) -> int:
    """Give the base an added token, and the model rows for it."""
    size = json.loads((base / "config.json").read_text())["vocab_size"]
    token = {"id": size, "content": content, "special": special, "normalized": normalized}
    flags = {"lstrip": False, "rstrip": False, "single_word": False}
    change(base / "tokenizer.json", lambda d: d["added_tokens"].append(token | flags))
    change(base / "config.json", lambda d: d.update(vocab_size=size + rows))
    weights = load_file(base / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.cat([weights[name], weights[name][:rows]])
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    return size


CONFLICTS = {
    "two tokens of one id, in added_tokens.json": (
        "added_tokens.json", lambda d: d.update({"<chat>": 1}), "id 1 is '<chat>'"),
    "two tokens of one id, in tokenizer_config.json": (
        "tokenizer_config.json", lambda d: d.update(added_tokens_decoder={"2": {"content": "<e>"}}), "id 2 is '<e>'"),
    "an added token on a learned piece's id": (
        "tokenizer.json", lambda d: d["added_tokens"].append({"id": 300, "content": "zzz"}), "id 300 is 'zzz'"),
    "two ids of one token": (
        "tokenizer.json", lambda d: d["added_tokens"].append({"id": 999, "content": "<s>"}), "'<s>' has the id 999"),
    "an id that is no number": (
        "added_tokens.json", lambda d: d.update({"<chat>": "x"}), "the id 'x'"),
    "an added token without a text": (
        "tokenizer.json", lambda d: d["added_tokens"].append({"id": 999}), "the text None"),
    "two tokens for one role": (
        "special_tokens_map.json", lambda d: d.update(bos_token="</s>"), "bos_token is '</s>'"),
}  # fmt: skip


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", CONFLICTS)
def test_special_tokens_that_contradict_each_other_are_refused_by_name(model_copy, text_file, capsys, name):
    file, edit, words = CONFLICTS[name]
    change(model_copy / file, edit)
    said = refusal(model_copy, text_file, capsys)
    assert words in said
    assert "expected" in said
    assert file in said


def test_a_special_token_without_an_id_is_refused(model_copy, text_file, capsys):
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        change(model_copy / name, lambda d: d.update(pad_token={"content": "<nopad>"}))
    assert "pad_token is '<nopad>', which has no id" in refusal(model_copy, text_file, capsys)


def test_a_token_beyond_the_models_rows_is_refused(model_copy, text_file, capsys):
    size = json.loads((model_copy / "config.json").read_text())["vocab_size"]
    change(model_copy / "added_tokens.json", lambda d: d.update({"<chat>": size}))
    assert f"{size + 1} tokens but the model only {size} rows" in refusal(model_copy, text_file, capsys)


@pytest.mark.parametrize(("special", "normalized"), [(True, False), (False, False), (False, True)])
def test_a_chinese_word_that_was_added_as_a_token_is_kept_and_never_learned_again(
    model_copy, tmp_path, special, normalized
):
    token = add(model_copy, "中国", special=special, normalized=normalized)
    corpus = tmp_path / "text.txt"
    corpus.write_text("我在中国。他说中国好。\n" * 60, encoding="utf-8")
    out = extended(model_copy, corpus, tmp_path / "out", num_new_tokens=40, prior="jieba")
    report = report_of(out)
    assert "我" in "".join(report["new_pieces"])
    assert not any("中国" in piece for piece in report["new_pieces"])
    tokenizer = AutoTokenizer.from_pretrained(str(out), local_files_only=True)
    assert tokenizer.convert_tokens_to_ids("中国") == token
    assert token in tokenizer.encode("我在中国。", add_special_tokens=False)


def test_a_base_that_was_extended_before_is_told_about(extended_folder, tiny_model_folder, tmp_path, capsys):
    text = tmp_path / "more.txt"
    text.write_text("量子计算机使用量子比特。\n量子纠缠与量子比特，量子计算。\n" * 30, encoding="utf-8")
    out = extended(extended_folder, text, tmp_path / "b", num_new_tokens=5)
    first = report_of(extended_folder)
    second = report_of(out)
    assert first["num_original_tokens"] is None
    assert second["num_original_tokens"] == first["num_base_tokens"]
    assert second["num_base_tokens"] == first["num_base_tokens"] + first["num_new_tokens"]
    page = (out / "vocab_report.html").read_text(encoding="utf-8")
    for said in (capsys.readouterr().err, page):
        assert "was extended before: it had" in said
        assert f"{first['num_base_tokens']:,} tokens" in said


def test_a_base_that_a_published_merge_extended_is_refused_at_once(model_copy, text_file, tmp_path, capsys):
    proto = parse_proto((model_copy / "tokenizer.model").read_bytes())
    for piece in ("中国", "他说", "信", "读了"):
        proto.pieces.add(piece=piece, score=0.0)
    merged = tmp_path / "merged.model"
    merged.write_bytes(proto.SerializeToString())
    assert "3 Chinese pieces the same score (0)" in refusal(merged, text_file, capsys)


@pytest.mark.fault(17)
def test_a_corpus_of_one_huge_line_says_what_became_of_it(model_copy, tmp_path, capsys):
    corpus = tmp_path / "huge.txt"
    corpus.write_text("中国人民" * 8_500_000, encoding="utf-8")
    assert "too_long: 1" in refusal(model_copy, corpus, capsys)


@pytest.mark.fault(16)
@pytest.mark.parametrize("text", ["\ue000\ue001 😀👩\u200d👩\n", "\0\0\0\n", "ひらがな 한국어\n"])
def test_signs_that_are_not_chinese_are_nothing_to_learn_from(model_copy, tmp_path, capsys, text):
    corpus = tmp_path / "signs.txt"
    corpus.write_text(text * 50, encoding="utf-8")
    assert "no Chinese" in refusal(model_copy, corpus, capsys)


def test_a_base_with_a_piece_longer_than_learning_can_hold_is_extended_all_the_same(model_copy, tmp_path):
    proto = parse_proto((model_copy / "tokenizer.model").read_bytes())
    assert proto is not None
    for power in range(9):
        proto.pieces.add(piece="甲" * 2**power, score=-40_000.0 - power, type=NORMAL)
    model = tmp_path / "long.model"
    model.write_bytes(proto.SerializeToString())
    text = tmp_path / "long.txt"
    text.write_text(f"{'甲' * 256}乙丙\n{LINE}\n" * 40, encoding="utf-8")
    report = report_of(
        extend(ExtendConfig(base=model, corpus=(text,), num_new_tokens=40, prior="none", out=tmp_path / "out"))
    )
    assert "乙丙" in report["new_pieces"]
    assert not any("\0" in piece or len(piece) > 16 for piece in report["new_pieces"])
