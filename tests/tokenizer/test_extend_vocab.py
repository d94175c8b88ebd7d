"""extend-vocab on the tiny base: the invariants on arbitrary text, the files, the model, the report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from extending import BothForms, report_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from texts import TEXTS

from hanlm.artifact import open_artifact
from hanlm.model_folder import num_base_tokens
from hanlm.models import load_model
from hanlm.tokenizing import load_tokenizer, tokenizer_hash
from tokenizer.extend import ExtendConfig, extend, plan
from tokenizer.pieces import has_strong


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path) -> BothForms:
    return BothForms(tiny_model_folder)


@pytest.fixture(scope="module")
def extended(extended_folder: Path) -> BothForms:
    return BothForms(extended_folder)


def spells_special(text: str) -> bool:
    return any(token in text for token in ("<s>", "</s>", "<unk>", "<pad>"))


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("他他他说说说的的的的的的，，，。。。")
@example("a\u0000b 中\u0000文")
@example(" " * 70 + "他" + " " * 33)
def test_sentencepiece_and_transformers_agree_on_every_text(extended, text):
    if not spells_special(text):
        assert extended.ids(text) is not None


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXTS, st.text(st.characters(max_codepoint=0x2FFF))))
def test_text_without_chinese_keeps_the_base_ids(base, extended, text):
    kept = "".join(char for char in text if not has_strong(char))
    assert extended.spm.encode(kept) == base.spm.encode(kept)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_decoding_returns_the_text_wherever_it_did_with_the_base(base, extended, text):
    if base.spm.decode(base.spm.encode(text)) == text and not spells_special(text):
        assert extended.spm.decode(extended.spm.encode(text)) == text
        ids = extended.fast.encode(text, add_special_tokens=False)
        assert extended.fast.decode(ids, skip_special_tokens=False) == text


def test_every_new_token_is_produced_by_its_own_text(extended_folder, base, extended):
    first, last = base.spm.vocab_size(), extended.spm.vocab_size()
    assert last > first
    for i in range(first, last):
        piece = extended.spm.id_to_piece(i)
        assert has_strong(piece)
        assert [t.id for t in extended.fast.backend_tokenizer.model.tokenize(piece)] == [i]


def test_a_special_token_spelled_in_a_text_follows_transformers(extended):
    assert extended.fast.convert_tokens_to_ids("<s>") in extended.fast.encode("中<s>文", add_special_tokens=False)
    assert extended.spm.bos_id() not in extended.spm.encode("中<s>文")


def test_scores_continue_the_base_ranks(base, extended):
    first, last = base.spm.vocab_size(), extended.spm.vocab_size()
    scores = [extended.spm.get_score(i) for i in range(first, last)]
    lowest = min(base.spm.get_score(i) for i in range(first) if base.spm.get_score(i) > -1e8)
    assert scores == [lowest - 1 - i for i in range(len(scores))]


def test_the_tokenizer_keeps_its_special_tokens_and_bos(base, extended):
    assert extended.fast.special_tokens_map == base.fast.special_tokens_map
    assert extended.fast.pad_token_id == base.fast.pad_token_id
    assert extended.fast("他", add_special_tokens=True)["input_ids"][-1] == extended.spm.encode("他")[-1]


@pytest.mark.parametrize(("named", "bos"), [({}, "<s>"), ({"bos_token": None}, None)])
def test_roles_that_no_file_names_are_those_of_the_sentencepiece_model(model_copy, text_file, tmp_path, named, bos):
    """A file that names the pad alone says nothing of bos; one that sets bos to null does."""
    (model_copy / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<unk>"}))
    (model_copy / "tokenizer_config.json").write_text(json.dumps(named))
    (model_copy / "tokenizer.json").unlink(missing_ok=True)
    out = extend(
        ExtendConfig(base=model_copy, corpus=(text_file,), num_new_tokens=9, init="mean", out=tmp_path / "out")
    )
    tokenizer = load_tokenizer(out)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (bos, "</s>", "<unk>")
    assert tokenizer.encode("a b") == [1] * (bos is not None) + tokenizer.encode("a b", add_special_tokens=False)


def test_the_model_runs_and_base_tokens_keep_their_logits(tiny_model_folder, extended_folder, base):
    import torch

    old, new = load_model(tiny_model_folder), load_model(extended_folder)
    ids = torch.tensor([base.spm.encode("The river runs past the old mill")])
    with torch.no_grad():
        a, b = old(ids).logits, new(ids).logits
    num_base = base.spm.vocab_size()
    assert b.shape[-1] % 64 == 0
    assert torch.equal(a[..., :num_base], b[..., :num_base])
    assert torch.isfinite(b).all()


def test_the_artifact_and_the_report_hold_what_others_read(extended_folder, tiny_model_folder, base, extended):
    artifact = open_artifact(extended_folder, "model")
    report = report_of(extended_folder)
    assert artifact.manifest["tokenizer_hash"] == tokenizer_hash(extended_folder) != tokenizer_hash(tiny_model_folder)
    assert num_base_tokens(extended_folder) == report["num_base_tokens"] == base.spm.vocab_size()
    assert report["num_new_tokens"] == extended.spm.vocab_size() - base.spm.vocab_size() > 100
    checks = ("dead_tokens", "changed_lines", "sentencepiece_fast_mismatches", "round_trip_failures")
    assert [report["verification"][name] for name in checks] == [0, 0, 0, 0]
    assert report["verification"]["num_texts"] > 400
    story = report["tokens_per_char"]["story"]
    assert story["extended"] < story["base"] / 2
    curve = [point["tokens_per_char"]["story"] for point in report["size_curve"]]
    assert curve == sorted(curve, reverse=True)
    assert curve[0] == pytest.approx(story["base"])
    assert curve[-1] == pytest.approx(story["extended"])
    page = (extended_folder / "vocab_report.html").read_text(encoding="utf-8")
    assert "New tokens" in page
    assert "plotly" in page


@pytest.mark.parametrize("method", ["continued-bpe", "merge-spm"])
def test_the_result_is_the_same_for_any_number_of_workers(tiny_tokenizer_folder, chinese_file, tmp_path, method):
    config = ExtendConfig(
        base=tiny_tokenizer_folder / "tokenizer.model",
        corpus=(chinese_file,),
        num_new_tokens=200,
        method=method,
        out=tmp_path,
    )
    folders = [extend(replace(config, out=tmp_path / str(n), workers=n)) for n in (1, 2)]
    for name in ("tokenizer.model", "tokenizer.json", "vocab_report.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert open_artifact(folders[0], "tokenizer").hash == open_artifact(folders[1], "tokenizer").hash
    tokenizer = load_tokenizer(folders[0])
    assert tokenizer.encode("他说")[0] == tokenizer.bos_token_id is not None


def test_an_extended_model_can_be_extended_again(extended_folder, tmp_path):
    text = tmp_path / "more.txt"
    text.write_text("量子计算机使用量子比特。\n量子纠缠与量子比特，量子计算。\n" * 30, encoding="utf-8")
    out = extend(ExtendConfig(base=extended_folder, corpus=(text,), num_new_tokens=5, out=tmp_path / "b", prior="none"))
    before, after = BothForms(extended_folder), BothForms(out)
    assert after.spm.vocab_size() == before.spm.vocab_size() + 5
    assert len(after.spm.encode("量子计算机")) < len(before.spm.encode("量子计算机"))
    assert load_model(out).get_input_embeddings().weight.shape[0] >= after.spm.vocab_size()


def test_only_the_train_split_of_a_corpus_is_learned_from(tiny_tokenizer_folder, tmp_path):
    from hanlm.publish import publish

    with publish(tmp_path / "corpus", kind="corpus", config={}) as draft:
        for split, line in (("train", "山高水长"), ("valid", "鸟语花香")):
            rows = [json.dumps({"id": str(i), "text": line * 3, "domain": "d"}, ensure_ascii=False) for i in range(9)]
            (draft.folder / f"{split}-00000.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = ExtendConfig(
        base=tiny_tokenizer_folder / "tokenizer.model",
        corpus=(tmp_path / "corpus",),
        num_new_tokens=20,
        out=tmp_path / "out",
        prior="none",
    )
    report = report_of(extend(config))
    assert set("".join(report["new_pieces"])) == set("山高水长")
    assert report["tokens_per_char"]["d"]["extended"] == pytest.approx(report["tokens_per_char"]["d"]["base"])


def test_english_replay_does_not_dilute_the_overall_figure(tiny_tokenizer_folder, chinese_file, english_file, tmp_path):
    config = ExtendConfig(
        base=tiny_tokenizer_folder / "tokenizer.model",
        corpus=(chinese_file, english_file),
        num_new_tokens=50,
        out=tmp_path / "out",
    )
    report = report_of(extend(config))
    notes = report["tokens_per_char"]["notes"]
    assert notes["base"] == notes["extended"]
    assert report["tokens_per_char_overall"] == report["tokens_per_char"]["story"]


def test_plan_says_what_would_happen_and_writes_nothing(tiny_model_folder, chinese_file, tmp_path):
    config = ExtendConfig(base=tiny_model_folder, corpus=(chinese_file,), num_new_tokens=9, out=tmp_path / "out")
    lines = plan(config)
    assert "up to 9" in lines[0]
    assert "embed_tokens" in lines[-1]
    assert "lm_head" in lines[-1]
    assert not list(tmp_path.iterdir())


def test_the_plan_is_plain_english_with_readable_numbers(tiny_tokenizer_folder, chinese_file, english_file, tmp_path):
    def planned(*corpus: Path) -> str:
        base = tiny_tokenizer_folder / "tokenizer.model"
        config = ExtendConfig(base=base, corpus=corpus, num_new_tokens=18_000, out=tmp_path / "out", prune=True)
        return "\n".join(plan(config))

    size = chinese_file.stat().st_size
    assert f"learned from 1 file of {size:,} bytes" in planned(chinese_file)
    both = planned(chinese_file, english_file)
    assert f"learned from 2 files of {size + english_file.stat().st_size:,} bytes" in both
    assert "up to 18,000 are added" in both
