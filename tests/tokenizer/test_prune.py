"""Dropping tokens that a corpus never uses: its text keeps its tokens, every merge path stays, ids move together."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from hanlm.quarantine import Quarantine
from hanlm.records import read_documents
from tokenizer.config_ids import renumbered_config
from tokenizer.families import read_base
from tokenizer.prune import count_use, droppable
from tokenizer.pruned_base import find_spare_tokens
from tokenizer.renumber import new_ids

PARTS = st.dictionaries(st.integers(0, 30), st.sets(st.integers(0, 30), max_size=4))


@given(st.sets(st.integers(0, 30)), PARTS, st.one_of(st.none(), st.integers(0, 10)))
def test_nothing_that_a_remaining_token_is_made_from_is_dropped(unused, parts, limit):
    parts = {token: {part for part in some if part < token} for token, some in parts.items()}  # parts come first
    dropped = set(droppable(unused, parts)[:limit])
    assert dropped <= unused
    kept_parts = {part for token, some in parts.items() if token not in dropped for part in some}
    assert not dropped & kept_parts
    if limit is None:
        assert all(token in kept_parts for token in unused - dropped)
    else:
        assert len(dropped) == min(limit, len(droppable(unused, parts)))


def byte_base(folder: Path, lines: list[str]) -> Path:
    folder.mkdir()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, special_tokens=["<a>"], show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens(["<z>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(params=["sentencepiece", "byte-level"])
def base(request, tmp_path, tiny_tokenizer_folder, english_lines) -> Any:
    if request.param == "sentencepiece":
        return read_base(tiny_tokenizer_folder)
    return read_base(byte_base(tmp_path / "bytes", english_lines * 3))


def test_a_corpus_without_dropped_tokens_is_tokenized_as_before(base, english_file):
    documents = [d.text for d in read_documents([english_file], Quarantine())]
    few = [text.split(". ")[1] for text in documents if "letter" in text.split(". ")[1]]
    assert len(few) > 10
    old = base.forms()
    used = {token for ids in old.encode(few) for token in ids}
    parts = base.parts()
    dropped = droppable([token for token in parts if token not in used], parts)
    assert len(dropped) > 20
    smaller = base.without(dropped)
    assert smaller.num_tokens == base.num_tokens - len(dropped)
    new_id = new_ids(base.num_tokens, dropped)
    new = smaller.forms()
    for text, before, after in zip(few, old.encode(few), new.encode(few), strict=True):
        assert after == [new_id[token] for token in before]
        assert new.decode(after) == text
        assert all(form.encode([text]) == [after] for form in new.others.values())
    assert any(len(a) != len(b) for a, b in zip(old.encode(documents), new.encode(documents), strict=True))
    names = {old.spelling(token.id): new_id[token.id] for token in base.added_tokens}
    assert names == {new.spelling(token.id): token.id for token in smaller.added_tokens}
    assert all(new.spelling(new_id[i]) == old.spelling(i) for i in new_id)


def test_any_number_is_dropped_after_one_reading_of_the_corpus(base, tmp_path):
    corpus = tmp_path / "few.txt"
    corpus.write_text("She opened the letter and read it twice.\n" * 20, encoding="utf-8")
    spare = find_spare_tokens(base, [corpus])
    corpus.unlink()
    some, more, all_ = (spare.without(number, tmp_path / "pruned" / "base") for number in (5, 20, None))
    assert [len(pruned.dropped) for pruned in (some, more, all_)] == [5, 20, len(spare.order)]
    assert set(some.dropped) < set(more.dropped) < set(all_.dropped)
    assert more.base.num_tokens == base.num_tokens - 20


def test_usage_is_the_count_of_every_token_in_every_document(base, english_file):
    usage = count_use([base.forms().main], base.num_tokens, [english_file], Quarantine())
    texts = [d.text for d in read_documents([english_file], Quarantine())]
    ids = [token for text in texts for token in base.forms().encode([text])[0]]
    assert usage.counts.sum() == len(ids)
    assert usage.counts[ids[0]] == ids.count(ids[0])
    assert set(usage.texts) <= set(texts)
    assert len(usage.texts) > 20


def test_ids_in_a_configuration_move_and_other_numbers_stay():
    config = {"bos_token_id": 5, "eos_token_id": [7, 5], "pad_token_id": None, "vocab_size": 7, "hidden_size": 5}
    nested = config | {
        "text_config": {"eos_token_id": 7},
        "suppress_tokens": [5],
        "sep_token_id": 99,
        "bad_words_ids": [[5, 6], [7], [7, 5]],
    }
    assert renumbered_config(nested, {5: 1, 7: 2}) == {
        "bos_token_id": 1, "eos_token_id": [2, 1], "pad_token_id": None, "vocab_size": 7, "hidden_size": 5,
        "text_config": {"eos_token_id": 2}, "suppress_tokens": [1], "sep_token_id": None,
        "bad_words_ids": [[2], [2, 1]],
    }  # fmt: skip


def test_a_ban_on_several_tokens_goes_when_one_of_them_does():
    """Else a ban on two tokens in a row would become a ban on one of them wherever it stands."""
    assert renumbered_config({"bad_words_ids": [[5, 6], [6, 7], [7]]}, {5: 1, 7: 2}) == {"bad_words_ids": [[2]]}
    assert renumbered_config({"bad_words_ids": [[5, 6]]}, {5: 1, 7: 2}) == {"bad_words_ids": None}
