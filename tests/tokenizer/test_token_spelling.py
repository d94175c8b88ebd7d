"""What tokens spell and how it is shown: nothing lost, nothing invisible, whatever the family."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.compare import NamedTokenizer, read_compared
from tokenizer.spelling import is_text, shown, together

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> NamedTokenizer:
    """GPT-2's kind, trained on a few words: every Chinese character is two or three tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    tokenizer.train_from_iterator(["the river and the mill", "他说了，他说过"] * 9, trainer)
    path = tmp_path_factory.mktemp("byte-level") / "tokenizer.json"
    tokenizer.save(str(path))
    return read_compared([str(path)])[0]


@pytest.fixture(scope="module")
def sentencepiece(tiny_tokenizer_folder: Path) -> NamedTokenizer:
    return read_compared([str(tiny_tokenizer_folder / "tokenizer.model")])[0]


@pytest.fixture(scope="module")
def byte_fallback(tiny_tokenizer_folder: Path) -> NamedTokenizer:
    return read_compared([str(tiny_tokenizer_folder / "tokenizer.json")])[0]


@given(text=TEXTS)
def test_the_tokens_of_any_text_spell_its_bytes(byte_level, sentencepiece, byte_fallback, text):
    for tokenizer, prefix in ((byte_level, ""), (sentencepiece, " "), (byte_fallback, " ")):
        if text and "<" not in text and "▁" not in text:  # no special token spelled out, no sign for the space
            (ids,) = tokenizer.encoder.encode([text])
            assert b"".join(tokenizer.spelling[i] for i in ids).decode() == prefix + text


@given(text=TEXTS)
def test_runs_are_whole_characters_and_lose_no_token(byte_level, text):
    (ids,) = byte_level.encoder.encode([text])
    runs = together(ids, byte_level.spelling)
    assert [i for _, run in runs for i in run] == ids
    for text_shown, run in runs:
        whole = b"".join(byte_level.spelling[i] for i in run)
        assert is_text(whole)
        assert shown(whole) == text_shown
        assert not any(is_text(b"".join(byte_level.spelling[i] for i in run[:n])) for n in range(1, len(run)))


def test_bytes_that_belong_together_stand_together(byte_level):
    (ids,) = byte_level.encoder.encode(["龘和"])
    runs = together(ids, byte_level.spelling)
    assert [text for text, _ in runs] == ["龘", "和"]
    assert len(runs[0][1]) > 1


def test_bytes_that_spell_nothing_are_shown_one_by_one():
    spelling = {0: b"\xe4", 1: b"\xbd", 2: b"a", 3: "好".encode()}
    assert [text for text, _ in together([0, 2, 3, 1, 0], spelling)] == ["‹E4›a", "好", "‹BD›", "‹E4›"]


@given(data=st.binary(max_size=12))
def test_whatever_a_token_holds_it_is_shown_with_visible_characters(data):
    text = shown(data)
    assert bool(text) == bool(data)
    assert not any(unicodedata.category(char)[0] in "CZ" for char in text if char != " ")
    assert " " not in text or not is_text(data)  # only between the bytes of no character


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (b" the", "␣the"),
        ("他\n".encode(), "他↵"),
        (b"\xe4\xbd", "‹E4 BD›"),
        (b" \xe4", "␣‹E4›"),
        ("a\u202eb".encode(), "a‹U+202E›b"),
        (b"\x00", "‹U+0000›"),
    ],
)
def test_signs_are_shown_by_name(spelled, expected):
    assert shown(spelled) == expected


def test_word_pieces_lose_their_sign(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "他": 1, "##说": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    contents = json.loads(tokenizer.to_str()) | {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(contents), encoding="utf-8")
    (read,) = read_compared([str(tmp_path)])
    assert read.spelling == {0: b"[UNK]", 1: "他".encode(), 2: "说".encode()}
    assert read.unknown_id == 0
