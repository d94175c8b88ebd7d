"""The report's figures against the real libraries: compared tokenizers, character tables, uses of new tokens."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from extending import report_of

from hanlm.cli import main
from hanlm.errors import ConfigError, InputError
from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from hanlm.text import in_valid_split
from hanlm.tokenizing import load_tokenizer
from tokenizer.compare import read_compared
from tokenizer.count import HELD_OUT_FRACTION
from tokenizer.coverage import character_tables, coverage, single_tokens
from tokenizer.extend import ExtendConfig, extend, plan


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory, chinese_file: Path) -> Path:
    """A unigram model without byte fallback: what it has not seen is unknown to it."""
    import sentencepiece as spm

    texts = [d.text for d in read_documents([chinese_file], Quarantine())]
    prefix = tmp_path_factory.mktemp("unigram") / "chinese"
    spm.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
        sentence_iterator=iter(line for text in texts for line in text.split("\n")),
        model_prefix=str(prefix),
        model_type="unigram",
        vocab_size=200,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return prefix.with_suffix(".model")


@pytest.fixture(scope="module")
def reported(
    tiny_model_folder: Path, extended_folder: Path, chinese_file: Path, unigram: Path, tmp_path_factory
) -> Path:
    out = tmp_path_factory.mktemp("reported") / "out"
    compare = (str(extended_folder), str(tiny_model_folder / "tokenizer.json"), f"一元={unigram}")
    config = ExtendConfig(
        base=tiny_model_folder / "tokenizer.model", corpus=(chinese_file,), num_new_tokens=60, out=out, compare=compare
    )
    return extend(config)


@pytest.fixture(scope="module")
def held_out(chinese_file: Path) -> list[str]:
    texts = [d.text for d in read_documents([chinese_file], Quarantine(), txt_unit="line")]
    return [text for text in texts if in_valid_split(text, HELD_OUT_FRACTION)]


def test_compared_tokenizers_are_measured_on_the_same_documents(reported, extended_folder, tiny_model_folder, held_out):
    """Transformers counts the same tokens for the same documents."""
    report = report_of(reported)
    num_chars = sum(map(len, held_out))
    assert num_chars > 100
    folders = {"model": extended_folder, tiny_model_folder.name: tiny_model_folder}
    compared = {entry["name"]: entry for entry in report["compared"]}
    assert compared.keys() == {*folders, "一元"}
    for name, folder in folders.items():
        tokenizer = load_tokenizer(folder)
        expected = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in held_out) / num_chars
        assert compared[name]["tokens_per_char"] == {"story": pytest.approx(expected)}
        assert compared[name]["overall"] == pytest.approx(expected)
        assert compared[name]["num_tokens"] == len(tokenizer)
        assert compared[name]["unknown_share"] == 0
    # The base itself, compared with in its other form, is as long as the base.
    assert compared[tiny_model_folder.name]["overall"] == pytest.approx(report["tokens_per_char_overall"]["base"])


def test_a_tokenizer_that_loses_text_is_told_of(reported, unigram, held_out):
    import sentencepiece as spm

    processor = spm.SentencePieceProcessor(model_file=str(unigram))
    ids = [i for text in held_out for i in processor.encode(text)]
    report = report_of(reported)
    (entry,) = (entry for entry in report["compared"] if entry["name"] == "一元")
    assert entry["unknown_share"] == pytest.approx(ids.count(processor.unk_id()) / len(ids))
    assert entry["tokens_per_char"]["story"] == pytest.approx(len(ids) / sum(map(len, held_out)))


def test_the_tables_are_whole_and_in_their_own_order():
    tables = {table.key: table.chars for table in character_tables()}
    assert {key: len(chars) for key, chars in tables.items()} == {
        "general_standard_level_1": 3500,
        "general_standard_level_2": 3000,
        "general_standard_level_3": 1605,
        "gb2312_level_1": 3755,
        "big5_level_1": 5401,
    }
    assert all(len(set(chars)) == len(chars) for chars in tables.values())
    first, second, third = list(tables.values())[:3]
    assert len({*first, *second, *third}) == 8105
    assert (first[0], first[-1], second[0], third[0]) == ("一", "矗", "乂", "亍")
    assert set("的一是不了人我在有他") < set(first)
    assert (tables["big5_level_1"][0], tables["big5_level_1"][-1]) == ("一", "籲")
    assert (tables["gb2312_level_1"][0], tables["gb2312_level_1"][-1]) == ("啊", "座")


def test_coverage_counts_the_characters_that_are_one_piece(reported):
    import sentencepiece as spm

    report = report_of(reported)
    processor = spm.SentencePieceProcessor(model_file=str(reported / "tokenizer.model"))
    for table in character_tables():
        known = sum(processor.piece_to_id(char) != processor.unk_id() for char in table.chars)
        entry = report["character_coverage"][table.key]
        assert entry == {"num_chars": len(table.chars), "base": 0, "extended": known}
    assert report["character_coverage"]["general_standard_level_1"]["extended"] > 20
    (again,) = read_compared([str(reported)])
    assert coverage(single_tokens(again.spelling)) == {
        key: entry["extended"] for key, entry in report["character_coverage"].items()
    }


def test_uses_are_those_of_the_finished_tokenizer(reported, chinese_file):
    """On text that one tokenizer sees whole and the report sees in segments."""
    import sentencepiece as spm

    report = report_of(reported)
    processor = spm.SentencePieceProcessor(model_file=str(reported / "tokenizer.model"))
    uses: Counter[int] = Counter()
    for document in read_documents([chinese_file], Quarantine(), txt_unit="line"):
        uses.update(processor.encode(document.text))
    first = report["num_base_tokens"]
    assert report["usage"]["num_uses"] == [uses[i] for i in range(first, first + report["num_new_tokens"])]
    assert sum(report["usage"]["num_uses"]) > 1000
    # A new character replaces its bytes: three of the base's tokens.
    at = report["new_pieces"].index("的")
    assert report["usage"]["num_saved"][at] == 2 * report["usage"]["num_uses"][at]


@pytest.mark.parametrize("prior", ["jieba", "none"])
def test_tokens_that_the_lexicon_alone_brings_are_told_of(tiny_model_folder, chinese_file, tmp_path, capsys, prior):
    config = ExtendConfig(
        base=tiny_model_folder / "tokenizer.model",
        corpus=(chinese_file,),
        num_new_tokens=2000,
        out=tmp_path / "out",
        prior=prior,
    )
    report = report_of(extend(config))
    text = "".join(d.text for d in read_documents([chinese_file], Quarantine()))
    absent = sum(piece.replace("▁", " ") not in text for piece in report["new_pieces"])
    alone = report["usage"]["num_lexicon_only"]
    said = f"{alone:,} of the {report['num_new_tokens']:,} new tokens come from the lexicon alone"
    page = (tmp_path / "out" / "vocab_report.html").read_text(encoding="utf-8")
    if prior == "none":
        assert alone == absent == 0
        assert "from the lexicon alone" not in capsys.readouterr().err + page
    else:
        assert 100 < absent <= alone <= report["usage"]["num_uses"].count(0)
        assert said in capsys.readouterr().err
        assert said in page


def test_of_a_sample_nothing_is_said_to_be_the_lexicons_alone(
    tiny_model_folder, chinese_file, tmp_path, capsys, monkeypatch
):
    """The sample weighs little beside what counting whole stops at, as one of many domains does."""
    monkeypatch.setattr("tokenizer.usage.MAX_SAMPLED_CHARS", 2000)
    base = tiny_model_folder / "tokenizer.model"
    out = extend(ExtendConfig(base=base, corpus=(chinese_file,), num_new_tokens=2000, out=tmp_path / "out"))
    assert report_of(out)["usage"]["num_lexicon_only"] is None
    page = (out / "vocab_report.html").read_text(encoding="utf-8")
    assert "from the lexicon alone" not in capsys.readouterr().err + page


def test_the_size_curve_names_the_domains_that_end_highest_and_lowest(tiny_tokenizer_folder, tmp_path):
    corpus = tmp_path / "text.jsonl"
    texts = {"verse": "春眠不觉晓，处处闻啼鸟。", "letter": "他打开信，读了两遍。", "mixed": "The river，河。"}
    rows = [{"text": f"{text}{i}", "domain": domain} for domain, text in texts.items() for i in range(150)]
    corpus.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    base = tiny_tokenizer_folder / "tokenizer.model"
    out = extend(ExtendConfig(base=base, corpus=(corpus,), num_new_tokens=20, out=tmp_path / "out"))
    page = (out / "vocab_report.html").read_text(encoding="utf-8")
    figures = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    (curve,) = (f for f in figures if any(t.get("name") == "one domain each" for t in f["data"]))
    last = report_of(out)["size_curve"][-1]["tokens_per_char"]
    assert len(last) == 3
    named = [note["text"] for note in curve["layout"]["annotations"]]
    assert named == [max(last, key=last.__getitem__), min(last, key=last.__getitem__)]
    assert "or tap it" in page
    # A line of the default colour could not be seen on a dark page.
    (costs,) = (f for f in figures if "shapes" in f["layout"])
    assert {shape["line"]["color"] for shape in costs["layout"]["shapes"]} == {"var(--muted)"}


def test_names_tell_paths_apart_and_keep_clear_of_base_and_extended(tiny_tokenizer_folder, tmp_path):
    paths: list[str] = []
    for name in ("a/tok", "b/tok", "b/base", "c/qwen.tokenizer.json", "extended"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            shutil.copy(tiny_tokenizer_folder / "tokenizer.json", path)
        else:
            shutil.copytree(tiny_tokenizer_folder, path)
        paths.append(str(path))
    names = [tokenizer.name for tokenizer in read_compared([*paths, f"mine={tiny_tokenizer_folder}"])]
    assert names == ["a/tok", "b/tok", "b/base", "qwen", f"{tmp_path.name}/extended", "mine"]
    with pytest.raises(ConfigError, match="twice"):
        read_compared([paths[0], paths[0] + "/tokenizer.model"])
    with pytest.raises(ConfigError, match="'base'"):
        read_compared([f"base={paths[0]}"])


def test_a_tokenizer_json_that_cuts_texts_is_read_without_cutting(tiny_tokenizer_folder, tmp_path):
    contents = json.loads((tiny_tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8"))
    contents["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "cut.json").write_text(json.dumps(contents), encoding="utf-8")
    cut, whole = read_compared([str(tmp_path / "cut.json"), str(tiny_tokenizer_folder)])
    text = "The river runs past the old mill"
    assert cut.encoder.encode([text]) == whole.encoder.encode([text])


def test_an_older_folder_of_vocab_and_merges_is_the_tokenizer_that_it_spells_out(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    whole = Tokenizer(models.BPE())
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=290, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"]
    )
    whole.train_from_iterator(["the river and the mill 他说了"] * 9, trainer)
    folder = tmp_path / "older"
    folder.mkdir()
    whole.model.save(str(folder))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    (read,) = read_compared([str(folder)])
    text = "the mill, 他说 the river"
    assert read.name == "older"
    assert read.encoder.encode([text]) == [whole.encode(text).ids]
    assert read.num_tokens == whole.get_vocab_size()


@pytest.mark.parametrize("kind", ["missing", "empty folder", "text", "json", "list", "broken"])
def test_what_cannot_be_compared_with_is_refused_before_the_work(
    kind, tiny_tokenizer_folder, chinese_file, tmp_path, capsys
):
    bad = tmp_path / "bad.json"
    if kind == "empty folder":
        bad.mkdir()
    elif kind != "missing":
        bad = bad if kind != "text" else tmp_path / "notes.txt"
        bad.write_text({"text": "no tokenizer", "json": "{}", "list": "[1]"}.get(kind, '{"model": {"type": "BPE"}}'))
    words = ["extend-vocab", "--base", tiny_tokenizer_folder / "tokenizer.model", "--corpus", chinese_file]
    words += ["--num-new-tokens", 9, "--out", tmp_path / "out", "--compare", bad]
    for extra in ([], ["--dry-run"]):
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in [*words, *extra]])
        said = capsys.readouterr().err
        assert stopped.value.code == 2, said
        assert "Traceback" not in said
        assert len(said.strip().splitlines()) == 1
        assert bad.name in said
    assert not list(tmp_path.glob("out*"))


def test_plan_names_what_is_compared_with(tiny_tokenizer_folder, chinese_file, tmp_path):
    config = ExtendConfig(
        base=tiny_tokenizer_folder / "tokenizer.model",
        corpus=(chinese_file,),
        num_new_tokens=9,
        out=tmp_path / "out",
        compare=(f"mine={tiny_tokenizer_folder}",),
    )
    assert any("compares with mine (" in line for line in plan(config))


def test_the_manifest_holds_the_hash_of_every_compared_file(reported):
    manifest = json.loads((reported / "manifest.json").read_text(encoding="utf-8"))
    assert {f"compare{i}" for i in range(3)} < manifest["inputs"].keys()


def test_an_unreadable_sentencepiece_error_names_the_file(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"\x00\x01garbage")
    with pytest.raises(InputError, match=r"tokenizer\.model"):
        read_compared([str(tmp_path)])
