"""``extend-vocab --method merge-spm``: the published merge id by id, and the same merge without its faults."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from extending import report_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2
from transformers import AutoModelForCausalLM, AutoTokenizer

from hanlm.artifact import open_artifact
from hanlm.errors import ConfigError, InputError
from hanlm.models import load_model
from hanlm.quarantine import Quarantine
from hanlm.tokenizing import load_tokenizer
from tokenizer import train_spm
from tokenizer.count import count_corpus, parted_documents
from tokenizer.extend import ExtendConfig, extend, plan
from tokenizer.families import read_base
from tokenizer.merge import BEYOND, DIGITS, FOREIGN, IN_BASE, UNREACHABLE, merge, read_donor
from tokenizer.pieces import segments
from tokenizer.proto import NORMAL, USER_DEFINED
from tokenizer.sample import Sample
from tokenizer.spm import SpmBase

CHINESE = (
    "早上下了一场大雨，孩子们撑着伞，沿着河边走到学校去。",
    "酒店的房间很干净，服务员也很热情，下次来北京还会住这里。",
    "他在2008年去过意大利，读了hello和3.14。",
    "越来越多的人喜欢读书，中国人民的生活水平不断提高。",
)
SHARED = Path(__file__).parents[3] / "shared/data/tokenizers"


@pytest.fixture(scope="module")
def donor_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Chinese unigram model like the published one: words, digits, Latin, and a piece that merging never reaches."""
    prefix = tmp_path_factory.mktemp("donor") / "chinese_sp"
    sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
        sentence_iterator=iter([line[i:] for line in CHINESE for i in range(0, len(line), 3)] * 10),
        model_prefix=str(prefix),
        model_type="unigram",
        vocab_size=260,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    model = prefix.with_suffix(".model")
    proto = sentencepiece_model_pb2.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    proto.ParseFromString(model.read_bytes())
    proto.pieces.add(piece="不可及", score=-20.0)
    model.write_bytes(proto.SerializeToString())
    return model


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "zh.txt"
    path.write_text("".join(f"{line}\n" for line in CHINESE) * 30, encoding="utf-8")
    return path


def pieces_of(model: Path) -> list[tuple[str, float]]:
    proto = sentencepiece_model_pb2.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    proto.ParseFromString(model.read_bytes())
    return [(p.piece, p.score) for p in proto.pieces]


def published_merge(base: Path, donor: Path) -> list[tuple[str, float]]:
    """What the published merge yields: each unknown piece appended in the donor's order with a score of 0."""
    old = pieces_of(base)
    known = {piece for piece, _ in old}
    return old + [(piece, 0.0) for piece, _ in pieces_of(donor) if piece not in known]


def config(base: Path, out: Path, **options: Any) -> ExtendConfig:
    return ExtendConfig(base=base, out=out, method="merge-spm", **options)


def test_a_compatible_merge_is_the_published_one_id_by_id_and_counts_its_faults(
    tiny_model_folder: Path, donor_file: Path, tmp_path: Path
):
    wanted = config(tiny_model_folder, tmp_path / "out", spm=donor_file, compatible=True)
    assert any(str(donor_file) in line for line in plan(wanted))
    out = extend(wanted)
    assert pieces_of(out / "tokenizer.model") == published_merge(tiny_model_folder / "tokenizer.model", donor_file)
    report = report_of(out)
    assert report["tokens_per_char"] == {}
    assert any("不可及" in example for example in report["verification"]["examples"])
    assert "with its faults" in (out / "vocab_report.html").read_text(encoding="utf-8")
    assert open_artifact(out, "model").manifest["init"] == "sub-token-mean"
    tokenizer = AutoTokenizer.from_pretrained(str(out))
    assert len(tokenizer) == report["num_base_tokens"] + report["num_new_tokens"]
    model = AutoModelForCausalLM.from_pretrained(str(out))
    rows = model.get_input_embeddings().weight
    assert rows.shape[0] == len(tokenizer)
    assert rows.isfinite().all()
    assert (rows[report["num_base_tokens"] :].norm(dim=1) > 0).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published models are not here")
def test_the_published_chinese_llama_merge_comes_out_with_its_49953_tokens(tmp_path: Path):
    base, donor = SHARED / "llama2-32000.tokenizer.model", SHARED / "chinese_sp-20000.model"
    out = extend(config(base, tmp_path / "out", spm=donor, compatible=True))
    merged = pieces_of(out / "tokenizer.model")
    assert len(merged) == 49_953
    assert merged == published_merge(base, donor)


def test_a_merge_gives_ranks_and_leaves_out_what_does_not_belong(
    tiny_tokenizer_folder: Path, donor_file: Path, corpus_file: Path, tmp_path: Path
):
    base = tiny_tokenizer_folder / "tokenizer.model"
    out = extend(config(base, tmp_path / "out", spm=donor_file, corpus=(corpus_file,)))
    report = report_of(out)
    checked = report["verification"]
    assert checked["num_tokens_checked"] == report["num_new_tokens"] > 50
    failures = ("dead_tokens", "changed_lines", "sentencepiece_fast_mismatches", "round_trip_failures")
    assert [checked[name] for name in failures] == [0, 0, 0, 0]
    left = report["left_out"]
    assert {DIGITS, FOREIGN, IN_BASE, UNREACHABLE} <= left.keys()
    assert "不可及" in left[UNREACHABLE]["examples"]
    assert all(any(c.isdigit() for c in piece) for piece in left[DIGITS]["examples"])
    num_donor = len(pieces_of(donor_file))
    assert report["num_new_tokens"] + sum(entry["num_pieces"] for entry in left.values()) == num_donor
    ratios = report["tokens_per_char_overall"]
    assert ratios["extended"] < 0.6 * ratios["base"]
    curve = [point["tokens_per_char"]["default"] for point in report["size_curve"]]
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] == pytest.approx(ratios["extended"])
    assert open_artifact(out, "tokenizer").manifest["inputs"].keys() == {"base", "spm", "corpus0"}


def test_a_limit_takes_the_best_pieces_and_any_prefix_can_be_produced(tiny_tokenizer_folder: Path, donor_file: Path):
    base, donor = read_base(tiny_tokenizer_folder), read_donor(donor_file)
    whole = merge(base, donor, "han+punct+space").pieces
    limited = merge(base, donor, "han+punct+space", limit=40)
    assert limited.pieces == whole[:40]
    assert limited.left_out[BEYOND] == whole[40:]
    known = {p.piece for p in base.proto.pieces}
    for piece in whole:
        assert len(piece) == 1 or any({piece[:i], piece[i:]} <= known for i in range(1, len(piece)))
        known.add(piece)


def test_a_piece_without_a_path_of_merges_is_left_out_and_named(tiny_tokenizer_folder: Path):
    donor = sentencepiece_model_pb2.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    for score, piece in enumerate(["意", "大", "利", "意大利", "越", "来", "越来", "越来越"]):
        donor.pieces.add(piece=piece, score=-float(score))
    merged = merge(read_base(tiny_tokenizer_folder), donor, "han")
    assert merged.left_out == {UNREACHABLE: ["意大利"]}
    assert "越来越" in merged.pieces


def test_a_piece_that_holds_a_symbol_of_the_bases_user_is_left_out(tiny_tokenizer_folder: Path, tmp_path: Path):
    proto = read_donor(tiny_tokenizer_folder / "tokenizer.model")
    proto.pieces.add(piece="甲乙", type=USER_DEFINED)
    (tmp_path / "tokenizer.model").write_bytes(proto.SerializeToString())
    donor = sentencepiece_model_pb2.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    for i, piece in enumerate(["甲", "乙", "丙", "乙丙", "甲乙丙"]):
        donor.pieces.add(piece=piece, score=-float(i))
    merged = merge(read_base(tmp_path), donor, "han")
    assert merged.pieces == ["甲", "乙", "丙", "乙丙"]
    assert merged.left_out == {UNREACHABLE: ["甲乙丙"]}


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_without_a_model_to_merge_one_is_trained_on_the_corpus(
    tiny_tokenizer_folder: Path, chinese_file: Path, tmp_path: Path, kind: Any
):
    out = extend(
        config(tiny_tokenizer_folder, tmp_path / "out", corpus=(chinese_file,), spm_type=kind, num_new_tokens=200)
    )
    report = report_of(out)
    assert 100 < report["num_new_tokens"] <= 200
    assert report["verification"]["dead_tokens"] == 0
    with pytest.raises(InputError, match="pass a larger --num-new-tokens"):
        extend(config(tiny_tokenizer_folder, tmp_path / "few", corpus=(chinese_file,), num_new_tokens=5))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"method": "continued-bpe", "spm": Path("a.model")}, "belong to --method merge-spm"),
        ({"method": "merge-spm", "compatible": True, "corpus": (Path("a"),)}, "needs --spm"),
        ({"method": "merge-spm", "spm": Path("a"), "compatible": True, "num_new_tokens": 5}, "no --num-new-tokens"),
        ({"method": "merge-spm"}, "got none; pass --corpus"),
        ({"method": "merge-spm", "corpus": (Path("a"),)}, "pass --num-new-tokens"),
        ({"corpus": (Path("a"),)}, "pass --num-new-tokens"),
    ],
)
def test_options_that_do_not_go_together_are_named(options: dict[str, Any], word: str):
    with pytest.raises(ConfigError, match=word):
        ExtendConfig(base=Path("base"), out=Path("out"), **options)


@pytest.mark.parametrize("content", [None, b"", b"IQ== 0\nIg== 1\n"])
def test_a_file_that_is_no_sentencepiece_model_is_refused(
    tiny_tokenizer_folder: Path, tmp_path: Path, content: bytes | None
):
    file = tmp_path / "chinese_sp.model"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"chinese_sp\.model"):
        extend(config(tiny_tokenizer_folder, tmp_path / "out", spm=file))
    assert not (tmp_path / "out").exists()


def test_a_merge_that_brings_nothing_new_is_refused(tiny_tokenizer_folder: Path, tmp_path: Path):
    model = tiny_tokenizer_folder / "tokenizer.model"
    with pytest.raises(InputError, match="already has every Chinese piece"):
        extend(config(tiny_tokenizer_folder, tmp_path / "out", spm=model))


def test_a_trained_model_never_sees_the_text_that_it_is_measured_on(chinese_file: Path):
    parted = list(parted_documents(chinese_file, Quarantine()))
    held_out = {document.text for document, is_held_out in parted if is_held_out}
    assert 0 < len(held_out) < len(parted)
    counted = count_corpus([chinese_file], Quarantine(), partial(segments, pieces="han+punct+space")).held_out
    assert {text for texts in counted.values() for text in texts} == held_out
    learned = "\n".join(train_spm._lines([chinese_file], Sample()))
    assert not any(text in learned for text in held_out)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("甲乙丙", min_size=2, max_size=5), unique=True, min_size=1, max_size=25))
def test_every_prefix_of_merged_pieces_is_reachable_from_earlier_ones(tiny_tokenizer_folder: Path, wanted: list[str]):
    """A worse-ranked part may be merged first and still have a later id: rows are made of earlier ones alone."""
    base = read_base(tiny_tokenizer_folder / "tokenizer.model")
    assert isinstance(base, SpmBase)
    donor = type(base.proto)()
    for rank, piece in enumerate([*"甲乙丙", *wanted]):
        donor.pieces.add(piece=piece, score=-float(rank), type=NORMAL)
    merged = merge(base, donor, "han").pieces
    first = base.num_tokens
    parents = base.extended(merged).merge_parents(first)
    assert all(max(parts) < i for i, parts in enumerate(parents, first))
    for size in (len(merged) // 2, len(merged)):
        assert base.extended(merged[:size]).dead(first) == []


def test_a_model_gets_rows_for_merged_pieces(tiny_model_folder: Path, donor_file: Path, tmp_path: Path):
    out = extend(config(tiny_model_folder, tmp_path / "out", spm=donor_file))
    report = report_of(out)
    assert report["num_new_tokens"] > 50
    assert load_model(out).get_input_embeddings().weight.shape[0] == len(load_tokenizer(out))
