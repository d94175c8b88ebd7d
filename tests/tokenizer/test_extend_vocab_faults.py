"""Bad input to extend-vocab: one clear sentence, nothing half-written, no good data lost."""

import json
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
from extending import LINE, report_of

from hanlm.artifact import fingerprint
from hanlm.cli import main
from hanlm.errors import ArtifactError, ConfigError, HanLMError, InputError
from tokenizer.extend import ExtendConfig, extend
from tokenizer.verify import Verification, VerificationError


def config_for(base: Path, corpus: Path, tmp_path: Path, **changes: object) -> ExtendConfig:
    config = ExtendConfig(base=base, corpus=(corpus,), num_new_tokens=40, out=tmp_path / "out", prior="none")
    return replace(config, **changes)


def refused(config: ExtendConfig, kind: type[HanLMError], *words: str) -> None:
    """Check the refusal: its type, that its sentence holds the words, and that nothing was left behind."""
    with pytest.raises(kind) as caught:
        extend(config)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not config.out.exists()
    assert not (config.out.parent / "out.work" / "result").exists()


@pytest.mark.fault(13)
def test_an_invalid_line_is_quarantined_and_its_neighbours_are_learned_from(tiny_tokenizer_folder, tmp_path):
    corpus = tmp_path / "text.txt"
    corpus.write_bytes(LINE.encode() + b"\n\xff\xfe\n" + f"{LINE}\n".encode() * 40)
    out = extend(config_for(tiny_tokenizer_folder / "tokenizer.model", corpus, tmp_path))
    report = report_of(out)
    assert report["quarantined"] == {"invalid_utf8": 1}
    assert report["num_documents"] == 41
    assert json.loads((out / "quarantine.jsonl").read_text(encoding="utf-8"))["line"] == 2


@pytest.mark.fault(13)
def test_too_many_invalid_lines_fail_the_run(tiny_tokenizer_folder, tmp_path):
    corpus = tmp_path / "text.txt"
    corpus.write_bytes(f"{LINE}\n".encode() * 4 + b"\xff\n")
    refused(config_for(tiny_tokenizer_folder / "tokenizer.model", corpus, tmp_path), InputError, "invalid_utf8: 1")


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    ("name", "content", "word"),
    [("a.txt", "", "empty"), ("a.txt", "only English 123\n", "no Chinese"), ("a.csv", LINE, "ending in")],
)
def test_a_corpus_without_chinese_is_refused(tiny_tokenizer_folder, tmp_path, name, content, word):
    (tmp_path / name).write_text(content, encoding="utf-8")
    refused(config_for(tiny_tokenizer_folder / "tokenizer.model", tmp_path / name, tmp_path), InputError, word)


@pytest.mark.fault(16)
@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_records_with_another_field_are_told_of_first_and_listed(tiny_tokenizer_folder, tmp_path, ending):
    corpus = tmp_path / f"text.{ending}"
    rows = [{"id": str(i), "content": LINE} for i in range(20)]
    lines = json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows))
    corpus.write_text(lines, encoding="utf-8")
    words = ("'text'", "id, content", corpus.name, "20 of 20", "out.work/quarantine.jsonl")
    config = config_for(tiny_tokenizer_folder / "tokenizer.model", corpus, tmp_path)
    refused(config, InputError, *words)
    listed = (tmp_path / "out.work" / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(listed) == 20  # kept: the sentence sends the reader there
    corpus.write_text("\n".join(json.dumps({"text": LINE + str(i)}) for i in range(20)), encoding="utf-8")
    if ending == "jsonl":
        extend(config)
        assert not (tmp_path / "out.work").exists()


@pytest.mark.fault(16)
def test_a_missing_corpus_is_refused(tiny_tokenizer_folder, tmp_path):
    model = tiny_tokenizer_folder / "tokenizer.model"
    refused(config_for(model, tmp_path / "none.txt", tmp_path), InputError, "does not exist")


@pytest.mark.fault(17)
def test_nul_and_private_characters_pass_and_surrogates_and_huge_lines_are_quarantined(tiny_tokenizer_folder, tmp_path):
    corpus = tmp_path / "text.jsonl"
    rows = [json.dumps({"text": f"{LINE}\0\ue000😀{i}"}, ensure_ascii=False) for i in range(60)]
    with corpus.open("w", encoding="utf-8") as file:
        file.write("\n".join([*rows, '{"text": "' + "\\ud800" + LINE + '"}']) + "\n")
        file.write('{"text": "' + "中" * 34_000_000 + '"}\n')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = extend(config_for(tiny_tokenizer_folder / "tokenizer.model", corpus, tmp_path))
    report = report_of(out)
    assert report["quarantined"] == {"lone_surrogate": 1, "too_long": 1}
    assert not any("\0" in piece or "\ue000" in piece for piece in report["new_pieces"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB: the line alone is 102 MB


def test_a_budget_larger_than_the_corpus_adds_what_there_is_and_says_so(
    tiny_tokenizer_folder, text_file, tmp_path, capsys
):
    out = extend(config_for(tiny_tokenizer_folder / "tokenizer.model", text_file, tmp_path, num_new_tokens=5000))
    report = report_of(out)
    assert 10 < report["num_new_tokens"] < report["num_requested_tokens"] == 5000
    assert "of the 5,000 asked for" in capsys.readouterr().err
    assert "asked for" in (out / "vocab_report.html").read_text(encoding="utf-8")


@pytest.mark.fault(22)
def test_a_base_of_pickles_is_refused(model_copy, text_file, tmp_path):
    (model_copy / "model.safetensors").rename(model_copy / "pytorch_model.bin")
    refused(config_for(model_copy, text_file, tmp_path), InputError, "pickle", "pytorch_model.bin")


def test_pickles_beside_safetensors_are_left_out_with_their_index_and_notes_are_copied(model_copy, text_file, tmp_path):
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json", "NOTES.md"):
        (model_copy / name).write_text("{}")
    out = extend(config_for(model_copy, text_file, tmp_path))
    assert (out / "NOTES.md").is_file()
    assert not list(out.glob("pytorch_model*"))


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "a tokenizer alone"])
def test_a_base_with_code_of_its_own_is_refused_without_the_flag(model_copy, text_file, tmp_path, name):
    init = "auto" if name == "a tokenizer alone" else "merge-tree"
    if name == "a tokenizer alone":
        for file in ("config.json", "model.safetensors"):
            (model_copy / file).unlink()
    file = model_copy / ("config.json" if name == "config.json" else "tokenizer_config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": {"AutoTokenizer": ["x.Y", None]}}))
    refused(config_for(model_copy, text_file, tmp_path), InputError, "auto_map", "--trust-remote-code")
    out = extend(config_for(model_copy, text_file, tmp_path, trust_remote_code=True, init=init))
    assert "auto_map" not in (out / "tokenizer_config.json").read_text()


@pytest.mark.fault(6)
def test_a_damaged_base_artifact_is_refused(extended_folder, text_file, tmp_path):
    base = Path(shutil.copytree(extended_folder, tmp_path / "base"))
    data = bytearray((base / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (base / "model.safetensors").write_bytes(data)
    refused(config_for(base, text_file, tmp_path), ArtifactError, "model.safetensors", "checksum")


def test_a_truncated_shard_is_refused(model_copy, text_file, tmp_path):
    data = (model_copy / "model.safetensors").read_bytes()
    (model_copy / "model.safetensors").write_bytes(data[:-10])
    refused(config_for(model_copy, text_file, tmp_path), InputError, "model.safetensors", "truncated")


@pytest.mark.fault(20)
def test_two_forms_of_the_base_tokenizer_that_disagree_are_refused(model_copy, text_file, tmp_path):
    fast = json.loads((model_copy / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = list(fast["model"]["vocab"])
    fast["model"]["vocab"] = {piece: i for i, piece in enumerate(reversed(pieces))}
    (model_copy / "tokenizer.json").write_text(json.dumps(fast), encoding="utf-8")
    refused(config_for(model_copy, text_file, tmp_path), InputError, "different ids")


def test_a_model_with_fewer_rows_than_its_tokenizer_is_refused(model_copy, text_file, tmp_path):
    config = json.loads((model_copy / "config.json").read_text())
    (model_copy / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    refused(config_for(model_copy, text_file, tmp_path), InputError, "only 100 rows")


def test_weights_of_another_size_than_the_configuration_says_are_refused(model_copy, text_file, tmp_path):
    config = json.loads((model_copy / "config.json").read_text())
    (model_copy / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] + 7}))
    refused(config_for(model_copy, text_file, tmp_path), InputError, "rows", "vocab_size")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"model_type": "unigram", "byte_fallback": True}, "Unigram"),
        ({"model_type": "bpe", "byte_fallback": False}, "byte fallback"),
        ({"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "nmt_nfkc"}, "nmt_nfkc"),
    ],
)
def test_other_kinds_of_sentencepiece_are_refused(text_file, tmp_path, options, word):
    settings = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False} | options
    lines = ["the river runs past the old mill", "she opened the letter and read it twice"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(tmp_path / "m"),
        vocab_size=300,
        hard_vocab_limit=False,
        minloglevel=2,
        **settings,
    )
    refused(config_for(tmp_path / "m.model", text_file, tmp_path), InputError, word)


@pytest.mark.parametrize("name", ["tiktoken.model", "tokenizer.json", "missing.model"])
def test_files_that_are_no_sentencepiece_model_are_refused(text_file, tmp_path, name):
    if name != "missing.model":
        (tmp_path / name).write_text("IQ== 0\nIg== 1\n")
    refused(config_for(tmp_path / name, text_file, tmp_path), InputError)


def test_a_sentencepiece_base_without_its_model_is_refused(model_copy, text_file, tmp_path):
    (model_copy / "tokenizer.model").unlink()
    refused(config_for(model_copy, text_file, tmp_path), InputError, "tokenizer.model beside it")


def test_failed_verification_publishes_nothing(tiny_tokenizer_folder, text_file, tmp_path, monkeypatch):
    monkeypatch.setattr("tokenizer.build.verify", lambda *_, **__: Verification(dead_tokens=3, examples=["dead: 'x'"]))
    config = config_for(tiny_tokenizer_folder / "tokenizer.model", text_file, tmp_path)
    refused(config, VerificationError, "3 dead tokens")


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("num_bytes", "options"),
    [
        pytest.param(20_000, [], id="in the tokenizer"),
        pytest.param(100_000, [], id="in the weights"),
        pytest.param(1_000_000, [], id="in the report"),
        pytest.param(20_000, ["--prune"], id="in the smaller base"),
    ],
)
def test_a_full_disk_publishes_nothing_and_leaves_the_base_alone(
    model_copy, text_file, tmp_path, full_disk, num_bytes, options
):
    before = {p.name: p.read_bytes() for p in model_copy.iterdir()}
    out = tmp_path / "out"
    words = ["--base", model_copy, "--corpus", text_file, "--num-new-tokens", 9, "--init", "merge-tree", "--out", out]
    full_disk(num_bytes, "extend-vocab", *words, *options)
    assert not out.exists()
    assert not (tmp_path / "out.work" / "result").exists()
    assert {p.name: p.read_bytes() for p in model_copy.iterdir()} == before


def test_a_finished_result_is_replaced_only_when_asked(tiny_tokenizer_folder, text_file, tmp_path):
    config = config_for(tiny_tokenizer_folder / "tokenizer.model", text_file, tmp_path)
    extend(config)
    with pytest.raises(ArtifactError, match="--overwrite"):
        extend(config)
    assert extend(replace(config, overwrite=True)) == config.out


@pytest.mark.parametrize(
    "change",
    [
        {"num_new_tokens": 0},
        {"num_new_tokens": 10**9},
        {"pad_to_multiple": 0},
        {"workers": -1},
        {"corpus": ()},
        {"max_quarantined": 2.0},
    ],
)
def test_a_wrong_option_is_named(change, tmp_path):
    right = {"base": tmp_path, "corpus": (tmp_path,), "num_new_tokens": 1, "out": tmp_path / "out"}
    with pytest.raises(ConfigError, match="expected"):
        ExtendConfig(**(right | change))


@pytest.mark.fault(3)
@pytest.mark.parametrize("moment", ["new_pieces.learn_vocabulary", "build.verify", "build.write_report"])
def test_ctrl_c_publishes_nothing_and_running_again_finishes(model_copy, text_file, tmp_path, interrupt, moment):
    out = tmp_path / "out"
    words = ["extend-vocab", "--base", model_copy, "--corpus", text_file, "--num-new-tokens", 9, "--out", out]
    interrupt(f"tokenizer.{moment}", *words)
    assert not out.exists()
    assert not (tmp_path / "out.work" / "result").exists()
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    assert done.value.code == 0


def test_the_base_is_never_replaced_by_what_is_made_of_it(extended_folder, text_file, tmp_path):
    base = Path(shutil.copytree(extended_folder, tmp_path / "base"))
    before = fingerprint(base)
    for out in (base, base / ".." / "base"):
        with pytest.raises(ConfigError, match="read as base"):
            extend(config_for(base, text_file, tmp_path, out=out, overwrite=True))
    assert fingerprint(base) == before


def test_an_adapter_is_no_base(model_copy, text_file, tmp_path):
    (model_copy / "config.json").unlink()
    (model_copy / "adapter_config.json").write_text("{}")
    refused(config_for(model_copy, text_file, tmp_path), InputError, "adapter", "OUT/model")


def test_records_that_are_left_out_are_told_of(model_copy, tmp_path, capsys):
    text = tmp_path / "text.jsonl"
    text.write_text((json.dumps({"text": LINE}) + "\n") * 60 + "no json\n", encoding="utf-8")
    extend(config_for(model_copy, text, tmp_path))
    assert "; 1 (malformed_json: 1) left out, see quarantine.jsonl" in capsys.readouterr().err
