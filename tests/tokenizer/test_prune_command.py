"""``extend-vocab --prune`` on a model: fewer rows, or as many swapped, and logits of kept tokens as they were."""

import json
from pathlib import Path

import pytest
import torch
from extending import report_of

from hanlm.errors import ConfigError, InputError
from hanlm.models import load_model
from hanlm.tokenizing import load_tokenizer
from tokenizer.extend import ExtendConfig, extend, plan


@pytest.fixture(scope="module")
def few_words(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "few.jsonl"
    lines = [{"id": str(i), "text": f"She opened the letter {i} and read it, twice; then she left."} for i in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pruned(tiny_model_folder, few_words, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("pruned") / "model"
    return extend(ExtendConfig(base=tiny_model_folder, corpus=(few_words,), prune=True, out=out))


def test_the_last_line_of_a_prune_tells_the_size(tiny_model_folder, few_words, tmp_path, capsys):
    out = extend(ExtendConfig(base=tiny_model_folder, corpus=(few_words,), prune=True, out=tmp_path / "out"))
    before, after = (len(load_tokenizer(folder)) for folder in (tiny_model_folder, out))
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"{before:,} -> {after:,} tokens; the corpus's text is tokenized as before"


def test_a_base_that_was_only_pruned_is_not_called_extended(pruned, chinese_file, tmp_path, capsys):
    out = extend(ExtendConfig(base=pruned, corpus=(chinese_file,), num_new_tokens=9, init="mean", out=tmp_path / "out"))
    assert "extended before" not in capsys.readouterr().err
    assert report_of(out)["num_original_tokens"] is None
    assert report_of(out)["num_base_tokens"] == report_of(pruned)["num_base_tokens"]


def test_logits_of_kept_tokens_are_the_bases_to_the_bit(tiny_model_folder, pruned):
    base, smaller = load_model(tiny_model_folder), load_model(pruned)
    kept = report_of(pruned)["pruned"]["kept_ids"]
    text = "She opened the letter 7 and read it, twice."
    old_ids = load_tokenizer(tiny_model_folder).encode(text, add_special_tokens=False)
    new_ids = load_tokenizer(pruned).encode(text, add_special_tokens=False)
    assert [kept[i] for i in new_ids] == old_ids
    with torch.no_grad():
        before = base(torch.tensor([old_ids])).logits[..., kept]
        after = smaller(torch.tensor([new_ids])).logits
    assert after.shape[-1] == len(kept) < base.config.vocab_size
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    for name, weight in smaller.state_dict().items():
        old = base.state_dict()[name]
        assert torch.equal(weight, old[kept] if weight.shape != old.shape else old)


def test_ids_in_the_configuration_are_those_of_the_same_tokens(tiny_model_folder, pruned):
    old, new = load_tokenizer(tiny_model_folder), load_tokenizer(pruned)
    before, after = (json.loads((f / "config.json").read_text()) for f in (tiny_model_folder, pruned))
    for role in ("bos_token_id", "eos_token_id"):
        assert old.convert_ids_to_tokens(before[role]) == new.convert_ids_to_tokens(after[role])
    assert after["vocab_size"] == len(new) < len(old)


def test_what_was_dropped_is_told(pruned):
    report = report_of(pruned)
    told = report["pruned"]
    assert told["num_dropped"] == len(told["dropped"]) > 20
    assert told["num_tokens_before"] == len(told["kept_ids"]) + told["num_dropped"]
    assert report["num_new_tokens"] == 0
    page = (pruned / "vocab_report.html").read_text(encoding="utf-8")
    assert "Dropped tokens" in page
    assert "<title>Vocabulary pruning</title>" in page
    assert "New tokens" not in page


def test_swapping_keeps_the_size_and_the_order_of_the_others(tiny_model_folder, few_words, chinese_file, tmp_path):
    config = ExtendConfig(
        base=tiny_model_folder, corpus=(few_words, chinese_file), prune=True, num_new_tokens=15, out=tmp_path / "out"
    )
    swapped = load_tokenizer(extend(config))
    old = load_tokenizer(tiny_model_folder)
    assert len(swapped) == len(old)
    assert load_model(tmp_path / "out").config.vocab_size == load_model(tiny_model_folder).config.vocab_size
    report = report_of(tmp_path / "out")
    assert report["pruned"]["num_dropped"] == report["num_new_tokens"] == 15
    names = old.convert_ids_to_tokens(report["pruned"]["kept_ids"])
    assert swapped.convert_ids_to_tokens(list(range(len(names)))) == names
    assert not (tmp_path / "out.work").exists()


@pytest.mark.parametrize(("num_new", "name"), [(9, "pruned, extended"), (None, "pruned")])
def test_the_report_of_a_pruned_base_compares_with_the_base_as_it_was_given(
    extended_folder, few_words, tmp_path, num_new, name
):
    """The base has characters that the corpus never uses, so it covers more than what is left of it."""
    text = tmp_path / "little.jsonl"
    text.write_text(json.dumps({"id": "1", "text": "春眠不觉晓，春眠不觉晓。"}) + "\n", encoding="utf-8")
    config = ExtendConfig(
        base=extended_folder,
        corpus=(few_words, text),
        prune=True,
        num_new_tokens=num_new,
        prior="none",
        out=tmp_path / "out",
    )
    report, before = report_of(extend(config)), report_of(extended_folder)["character_coverage"]
    covered = {key: table["base"] for key, table in report["character_coverage"].items()}
    assert covered == {key: table["extended"] for key, table in before.items()}
    if num_new is None:
        assert report["character_coverage"]["gb2312_level_1"]["extended"] < covered["gb2312_level_1"]
    page = (tmp_path / "out" / "vocab_report.html").read_text(encoding="utf-8")
    assert f'"name":"{name}"' in page
    assert '"name":"base as given"' in page


def test_the_plan_says_what_is_dropped(tiny_model_folder, few_words, tmp_path):
    config = ExtendConfig(base=tiny_model_folder, corpus=(few_words,), prune=True, out=tmp_path / "out")
    assert any("dropped" in line for line in plan(config))


def test_a_corpus_that_uses_everything_is_refused(tiny_model_folder, tmp_path):
    spoken = [token for token in load_tokenizer(tiny_model_folder).get_vocab() if "<" not in token]
    text = tmp_path / "all.jsonl"
    lines = [json.dumps({"id": str(i), "text": token.replace("▁", " ")}) for i, token in enumerate(spoken)]
    joined = [json.dumps({"id": f"x{i}", "text": "x" + token.replace("▁", " ")}) for i, token in enumerate(spoken)]
    text.write_text("\n".join([*lines, *joined]), encoding="utf-8")
    unused = ExtendConfig(base=tiny_model_folder, corpus=(text,), prune=True, out=tmp_path / "out")
    with pytest.raises(InputError, match="uses every token"):
        extend(unused)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [{"num_new_tokens": "auto"}, {"method": "merge-spm"}, {"corpus": ()}])
def test_prune_goes_with_a_number_and_a_corpus(change, tmp_path):
    right = {"base": tmp_path, "corpus": (tmp_path,), "num_new_tokens": 9, "prune": True, "out": tmp_path / "out"}
    with pytest.raises(ConfigError, match=r"--prune needs|--corpus"):
        ExtendConfig(**(right | change))


@pytest.mark.parametrize(
    ("change", "remedy"),
    [({"num_new_tokens": "auto"}, "then auto on its result"), ({"method": "merge-spm"}, "merge into its result")],
)
def test_what_prune_does_not_go_with_is_told_with_a_way_out(change, remedy, tmp_path):
    right = {"base": tmp_path, "corpus": (tmp_path,), "num_new_tokens": 9, "prune": True, "out": tmp_path / "out"}
    with pytest.raises(ConfigError, match=remedy):
        ExtendConfig(**(right | change))


def test_a_swap_keeps_padding_rows_and_drops_no_more_than_it_adds(padded_model_folder, few_words, tmp_path):
    base, text = padded_model_folder, tmp_path / "little.jsonl"
    text.write_text(json.dumps({"id": "1", "text": "春眠不觉晓，春眠不觉晓。"}) + "\n", encoding="utf-8")
    config = ExtendConfig(
        base=base, corpus=(few_words, text), prune=True, num_new_tokens=40, prior="none", out=tmp_path / "out"
    )
    report = report_of(extend(config))
    assert 0 < report["num_new_tokens"] == report["pruned"]["num_dropped"] < 40
    assert len(load_tokenizer(tmp_path / "out")) == len(load_tokenizer(base))
    assert load_model(tmp_path / "out").config.vocab_size == 384


def test_a_pruned_extended_model_still_tells_its_new_rows(extended_folder, few_words, chinese_file, tmp_path):
    config = ExtendConfig(base=extended_folder, corpus=(few_words, chinese_file), prune=True, out=tmp_path / "out")
    extend(config)
    before, after = report_of(extended_folder), report_of(tmp_path / "out")
    kept = after["pruned"]["kept_ids"]
    assert after["num_base_tokens"] == sum(i < before["num_base_tokens"] for i in kept) < before["num_base_tokens"]
    assert len(kept) > after["num_base_tokens"]


def test_a_corpus_that_lacks_other_text_is_warned_of(tiny_model_folder, tmp_path, capsys):
    text = tmp_path / "tiny.txt"
    text.write_text("So it is.\n", encoding="utf-8")
    out = extend(ExtendConfig(base=tiny_model_folder, corpus=(text,), prune=True, out=tmp_path / "out"))
    counts = report_of(out)["pruned"]["probe_tokens"]
    assert counts["after"] > 1.02 * counts["before"]
    assert f"{counts['after'] / counts['before'] - 1:.0%} more tokens" in capsys.readouterr().err
