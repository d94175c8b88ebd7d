"""The committed demo base: small, safe, English, ignorant of Chinese; its tokenizer agrees with SentencePiece."""

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hanlm.model_folder import check_model_folder, read_config
from hanlm.models import load_model
from hanlm.text import CJK_PUNCTUATION, HAN_PATTERN
from hanlm.tokenizing import load_tokenizer

DEMO = Path(__file__).parents[2] / "recipes" / "demo"
BASE = DEMO / "base"
MIB = 1024 * 1024

ENGLISH = (
    "Return the number of items in the list that are equal to the given value. If the list is empty, the result is "
    "zero. The search stops as soon as the value has been found.",
    "The people of this country have always believed that a free nation must be strong, and that its strength comes "
    "from the work of all.",
    "The city lies on the river and is the largest of the region. Its economy is based on trade, and the government "
    "has built a new port in the north.",
)
CHINESE = ("今天早上下了一场小雨，街上的人不多。我在路口的小店买了两个包子和一杯豆浆，一边走一边吃。",)


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    return load_model(BASE), load_tokenizer(BASE)


@pytest.fixture(scope="module")
def spm() -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(BASE / "tokenizer.model"))


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    """The demo's scripts import each other as siblings, as Python arranges when one of them is run."""
    sys.path.insert(0, str(DEMO))
    yield
    sys.path.remove(str(DEMO))


@pytest.fixture(scope="module")
def base_card(scripts: None) -> ModuleType:
    import base_card

    return base_card


def test_the_folder_is_a_small_safe_complete_model():
    check_model_folder(BASE)
    names = {path.name for path in BASE.iterdir()}
    assert names >= {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    }
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pkl", ".work"))}
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= 16 * MIB


def test_the_architecture_is_llama_with_grouped_queries_and_tied_rows(base: tuple[Any, Any]):
    model, tokenizer = base
    config = read_config(BASE)
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["hidden_act"] == "silu"
    assert 1 < config["num_key_value_heads"] < config["num_attention_heads"]
    assert config["tie_word_embeddings"]
    assert config["vocab_size"] == len(tokenizer) == 8000
    assert 3e6 <= model.num_parameters() <= 6e6
    assert str(model.dtype) == "torch.bfloat16"


def test_special_tokens_are_llamas_and_a_pad_of_its_own(base: tuple[Any, Any]):
    model, tokenizer = base
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<unk>", "<s>", "</s>", "<pad>"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 3)
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (1, 2, 3)
    assert tokenizer("one")["input_ids"][0] == 1


def test_no_piece_holds_chinese_and_scores_are_ranks(spm: Any):
    pieces = [spm.id_to_piece(i) for i in range(spm.get_piece_size())]
    assert not [piece for piece in pieces if HAN_PATTERN.search(piece) or CJK_PUNCTUATION & set(piece)]
    learned = [spm.get_score(i) for i in range(4 + 256, len(pieces))]
    assert learned == [-float(rank) for rank in range(len(learned))]


def test_sentencepiece_and_the_fast_tokenizer_agree_and_round_trip_on_every_text(base: tuple[Any, Any], spm: Any):
    _, tokenizer = base
    rng = random.Random(0)
    alphabet = "abcdefghiTRS  \n\t_.,()<>=0123456789éß—“”中文，。🙂\u3000αЖ"
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(60))) for _ in range(400)]
    texts += [*ENGLISH, *CHINESE, "", " ", "  two  spaces  ", "\n\n", "def f(x):\n        return x\n"]
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == spm.encode(text)
        assert tokenizer.decode(ids) == text


def test_english_costs_little_and_chinese_costs_more_than_random_bytes(base: tuple[Any, Any], base_card: ModuleType):
    from hanlm.bits import bits_per_byte

    def bits(texts: tuple[str, ...]) -> float:
        return bits_per_byte(base_card.total_nats(*base, texts), sum(len(text.encode()) for text in texts))

    assert bits(ENGLISH) < 1.8
    assert bits(CHINESE) > 8


def test_it_writes_english_words(base: tuple[Any, Any]):
    model, tokenizer = base
    function_words = {
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "is",
        "are",
        "be",
        "as",
        "by",
        "or",
        "and",
        "if",
        "not",
        "that",
    }
    for prompt in ("If the value is", "This is the"):
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        written = tokenizer.decode(model.generate(**inputs, max_new_tokens=50, do_sample=False)[0, -50:])
        words = re.findall("[a-z]+", written.lower())
        assert written.isascii()
        assert len(words) >= 15
        # In English about two words in five are function words; in random pieces hardly any.
        assert sum(word in function_words for word in words) > 0.35 * len(words)


def test_the_card_names_method_data_licences_and_figures():
    card = (BASE / "README.md").read_text(encoding="utf-8")
    for part in (
        "license: apache-2.0",
        "train_base.py",
        "## Bits per byte",
        "## Licences",
        "| english |",
        "| chinese |",
    ):
        assert part in card


def test_the_script_makes_a_base_from_a_folder_of_text(scripts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import torch
    from base_training import Budget, Shape
    from train_base import TrainBaseConfig, train_base

    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # the other tests of this process keep theirs
    rng = random.Random(0)
    words = [f"{a}{b}{c}" for a in ("str", "m", "l", "tr") for b in ("o", "a", "ea") for c in ("ne", "ck", "ding", "m")]
    text = "\n\n".join(" ".join(rng.choices(words, k=60)).capitalize() + "." for _ in range(400))
    (tmp_path / "text").mkdir()
    rows = [f'{{"text": "{part}", "lang": "en", "license": "CC0-1.0"}}' for part in text.split("\n\n")]
    rows.append('{"text": "Dies ist nicht Englisch.", "lang": "de"}')
    (tmp_path / "text" / "rows.jsonl").write_text("\n".join(rows))
    shape = Shape(
        vocab_size=340, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2, max_length=64
    )
    budget = Budget(num_steps=30, batch_size=8, lr=4e-3)
    config = TrainBaseConfig(out=tmp_path / "base", text=(tmp_path / "text",), budget=budget, shape=shape, threads=1)
    out = train_base(config)

    assert not (tmp_path / "base.work").exists()
    model, tokenizer = load_model(out), load_tokenizer(out)
    assert model.config.num_key_value_heads == 2
    assert tokenizer.pad_token == "<pad>"
    card = (out / "README.md").read_text()
    assert "CC0-1.0" in card
    english = next(line for line in card.splitlines() if line.startswith("| english |"))
    assert 0 < float(english.split("|")[2]) < 2.5


def test_the_script_refuses_what_it_cannot_use(scripts: None, tmp_path: Path):
    from train_base import TrainBaseConfig, gather

    from hanlm.errors import ConfigError, InputError

    with pytest.raises(ConfigError, match="exists already"):
        TrainBaseConfig(out=tmp_path)
    (tmp_path / "german.jsonl").write_text('{"text": "Guten Tag.", "lang": "de"}\n')
    with pytest.raises(InputError, match="pass more text"):
        gather(TrainBaseConfig(out=tmp_path / "base", text=(tmp_path / "german.jsonl",)))
