"""A swap: as many tokens dropped as added, none of them added again, and every kept id spells what it did."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from byte_bases import make_base
from extending import report_of

from hanlm.errors import InputError
from tokenizer.added_tokens import AddedToken
from tokenizer.extend import ExtendConfig, extend
from tokenizer.families import read_base
from tokenizer.pruned_base import find_spare_tokens
from tokenizer.verify import verify

# Words that jieba's lexicon has, though the corpus below never uses them.
KNOWN = "我们的生活很好，他们也是这样说的；这里是中国人的地方，今天学习工作。"


@pytest.fixture(params=["sentencepiece", "byte-level"])
def chinese_base(request, tmp_path, tiny_tokenizer_folder, english_lines) -> Path:
    """A base that has Chinese tokens."""
    if request.param == "byte-level":
        return make_base(tmp_path / "base", "qwen", [*english_lines, *[KNOWN] * 40], vocab_size=520)
    text = tmp_path / "known.txt"
    text.write_text(f"{KNOWN}\n" * 40, encoding="utf-8")
    base = tiny_tokenizer_folder / "tokenizer.model"
    return extend(ExtendConfig(base=base, corpus=(text,), num_new_tokens=30, prior="none", out=tmp_path / "base"))


@pytest.fixture
def corpus(tmp_path, english_lines) -> Path:
    path = tmp_path / "few.jsonl"
    texts = [*english_lines[:20], "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。" * 3]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def test_the_lexicon_adds_no_token_that_was_dropped_for_it(chinese_base, corpus, tmp_path):
    config = ExtendConfig(base=chinese_base, corpus=(corpus,), prune=True, num_new_tokens=5000, out=tmp_path / "out")
    report = report_of(extend(config))
    assert 10 < report["num_new_tokens"] == report["pruned"]["num_dropped"] < 5000
    old, new = (read_base(folder).forms() for folder in (chinese_base, tmp_path / "out"))
    kept = report["pruned"]["kept_ids"]
    assert [new.spelled(i) for i in range(len(kept))] == [old.spelled(token) for token in kept]
    before = {old.spelled(token) for token in range(old.num_tokens)}
    assert not before & {new.spelled(i) for i in range(len(kept), new.num_tokens)}


def test_an_old_id_that_spells_something_else_fails_the_verification(chinese_base):
    base = read_base(chinese_base)
    old = base.forms()
    assert verify(base, old, old, foreign_lines=[], documents=[]).changed_tokens == 0
    spare = min(base.parts())  # all ids behind it move up
    smaller = base.without([spare])
    changed = verify(smaller, old, smaller.forms(), foreign_lines=[], documents=[])
    assert changed.changed_tokens > 0
    assert "changed tokens" in changed.failures()


def test_where_all_that_could_go_is_wanted_again_nothing_is_swapped(chinese_base, corpus):
    base = read_base(chinese_base)
    spare = find_spare_tokens(base, [corpus])
    assert spare.order
    with pytest.raises(InputError, match="leave out --prune"):
        spare.keeping({spare.old.spelled(token) for token in range(base.num_tokens)})


@pytest.mark.parametrize("others", [[], ["<|a|>", "<|b|>"]])
def test_a_list_of_further_special_tokens_pins_no_others(tmp_path, english_lines, corpus, others):
    """A list has no spelling of its own; a token that is half a character decodes to nothing either."""
    base = make_base(tmp_path / "base", "qwen", [*english_lines, *[KNOWN] * 40], vocab_size=520)
    expected = find_spare_tokens(read_base(base), [corpus]).order
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"additional_special_tokens": others}))
    assert find_spare_tokens(read_base(base), [corpus]).order == expected


def test_a_role_that_one_file_alone_names_keeps_its_token(model_copy, text_file):
    """Where there is a special_tokens_map.json, what tokenizer_config.json names beside it counts too."""
    spare = find_spare_tokens(read_base(model_copy), [text_file])
    token = spare.order[0]
    (model_copy / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>"}))
    (model_copy / "tokenizer_config.json").write_text(json.dumps({"sep_token": spare.base.proto.pieces[token].piece}))
    assert token not in find_spare_tokens(read_base(model_copy), [text_file]).order


def test_what_an_added_token_is_merged_from_stays(chinese_base, text_file):
    """A learned token that a file lists as added is still merged, and needs its parts."""
    base = read_base(chinese_base)
    parts, order = base.parts(), find_spare_tokens(base, [text_file]).order
    added, part = next((token, part) for token in order for part in parts[token] if part in order)
    listed = replace(base, added_tokens=[*base.added_tokens, AddedToken(added, "listed")])
    kept = find_spare_tokens(listed, [text_file]).order
    assert added not in kept
    assert part not in kept
    assert kept
