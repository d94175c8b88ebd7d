"""SentencePiece BPE bases of every family's shape: trained here with what marks each, extended, pruned, compared."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from extending import BothForms, extended, report_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spm_models import train_bpe
from texts import UNICODE
from transformers import AutoTokenizer, LlamaTokenizer

from tokenizer.pieces import has_strong
from tokenizer.proto import NORMAL, USER_DEFINED, parse_proto

NUM_PIECES = 480

YI = ["<|im_start|>", "<|im_end|>", "<fim_prefix>", "<fim_suffix>", "<fim_prefix><", "[PAD]", "<|Human|>"]
RESERVED = [f"<reserved_{i}>" for i in range(106, 130)]
ODD = ["我们", "<的>", "▁▁", "——", "\n\n", "a▁b", "spaced out", "中▁文", "(.*)\\"]
"""Symbols that hold Chinese, weak characters alone, line ends, SentencePiece's sign for a space, and a space itself."""

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "yi": {"add_dummy_prefix": False, "user_defined_symbols": YI},
    "baichuan": {"user_defined_symbols": RESERVED},
    "baichuan without a space before the text": {"add_dummy_prefix": False, "user_defined_symbols": RESERVED},
    "mistral v3": {"control_symbols": ["[INST]", "[/INST]"], "user_defined_symbols": ["[control_8]", "[TOOL_CALLS]"]},
    "odd symbols": {"user_defined_symbols": ODD},
    "odd symbols without a space before the text": {"add_dummy_prefix": False, "user_defined_symbols": ODD},
}


@pytest.fixture(scope="module")
def lines(english_lines: list[str]) -> list[str]:
    """The base's own text; it holds some Chinese, so some characters and words are pieces before extending."""
    return [*english_lines, *["的的的 我们 中文 的 我们，我们。好的 12 年"] * 40]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("families") / "text.txt"
    chinese = "我们在中国。他说中国好，我们  也 说——好的。\n“中 文”<的>我们读了两遍。\n\nThe river 1592 他打开信。\n"
    path.write_text("".join(f"{i}。{chinese}" for i in range(60)), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, tmp_path_factory, lines, text) -> tuple[Path, Path]:
    """The base's file, and the extended folder."""
    root = tmp_path_factory.mktemp("family")
    base = train_bpe(root / "tokenizer.model", lines, NUM_PIECES, **FAMILIES[request.param])
    return base, extended(base, text, root / "out", num_new_tokens=60)


@pytest.fixture(scope="module")
def base(pair: tuple[Path, Path]) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(pair[0]))


@pytest.fixture(scope="module")
def both(pair: tuple[Path, Path]) -> BothForms:
    return BothForms(pair[1])


@pytest.fixture(scope="module", params=["llama", "yi", "baichuan", "odd symbols"])
def pruned(request, tmp_path_factory, lines, text) -> tuple[Any, BothForms, list[int]]:
    """A base, the same with tokens swapped for Chinese ones, and the old ids of the tokens that stayed."""
    root = tmp_path_factory.mktemp("pruned")
    base = train_bpe(root / "tokenizer.model", lines, NUM_PIECES, **FAMILIES[request.param])
    out = extended(base, text, root / "out", num_new_tokens=40, prune=True)
    kept = report_of(out)["pruned"]["kept_ids"]
    return sentencepiece.SentencePieceProcessor(model_file=str(base)), BothForms(out), kept


SYMBOLS = sorted({*YI, *RESERVED[:3], *ODD, "[INST]", "[control_8]", "[TOOL_CALLS]", "<0x41>", "<|", "<"})
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(SYMBOLS),
        st.sampled_from(
            ["我", "们", "中", "国", "说", "好", "，", "。", "“", "—", " ", "  ", "\n", "▁", "12", "the river"]
        ),
        UNICODE,
    ),
    max_size=12,
).map("".join)
SPECIAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")


def is_compared(text: str) -> bool:
    """Whether both forms must agree: special tokens, and a symbol that is the whole text, follow transformers."""
    return text not in SYMBOLS and not any(token in text for token in SPECIAL)


@settings(max_examples=250, deadline=None)
@given(text=TEXTS)
@example(text="<|im_start|>user\n我们 12<|im_end|>\n")
@example(text="a<reserved_106>b <reserved_107> 中<reserved_106><reserved_106>国")
@example(text="[control_8][TOOL_CALLS] 我们[control_8] x")
@example(text="我们我们中国，a b我——们  中 文—— <的>国 spaced out")
@example(text="  我们 \n\n   x▁▁y▁我")
def test_both_forms_agree_and_give_back_what_the_base_does(base, both, text):
    if is_compared(text):
        ids, old = both.ids(text), base.encode(text)
        if not has_strong(text):
            assert ids == old
        assert len(ids) <= len(old)
        if base.decode(old) == text:
            assert both.decoded(ids) == {text}


def test_old_ids_stay_and_every_new_token_is_made_of_its_own_text(pair, both):
    old, new = (parse_proto(path.read_bytes()) for path in (pair[0], pair[1] / "tokenizer.model"))
    assert old is not None
    assert new is not None
    first = len(old.pieces)
    assert list(new.pieces)[:first] == list(old.pieces)
    report = report_of(pair[1])
    assert report["num_new_tokens"] == len(new.pieces) - first > 30
    checks = ("dead_tokens", "changed_lines", "sentencepiece_fast_mismatches", "round_trip_failures")
    assert [report["verification"][name] for name in checks] == [0, 0, 0, 0]
    assert len(both.fast) == len(new.pieces)
    assert both.fast.convert_ids_to_tokens(list(range(first))) == [p.piece for p in old.pieces]
    head = both.ids("\n")
    for i in range(first, len(new.pieces)):
        assert new.pieces[i].type == NORMAL
        assert has_strong(new.pieces[i].piece)
        assert both.ids("\n" + new.pieces[i].piece.replace("▁", " ")) == [*head, i]


def test_a_users_symbol_is_one_token_wherever_it_stands(pair, both):
    symbols = [p.piece for p in parse_proto(pair[0].read_bytes()).pieces if p.type == USER_DEFINED]
    for symbol in symbols:
        if " " in symbol:  # SentencePiece never finds it: it writes the text's spaces in another way
            continue
        token = both.fast.convert_tokens_to_ids(symbol)
        spelled = symbol.replace("▁", " ")
        assert token in both.ids(f"x{spelled}y")
        assert token in both.ids(f"国{spelled}国")
        assert both.fast.encode(symbol, add_special_tokens=False) == [token]


@pytest.mark.parametrize("family", ["yi", "baichuan"])
def test_symbols_stay_what_they_are_in_a_folder_that_transformers_wrote(tmp_path, lines, text, family):
    base = tmp_path / "base"
    base.mkdir()
    train_bpe(base / "tokenizer.model", lines, NUM_PIECES, **FAMILIES[family])
    LlamaTokenizer.from_pretrained(str(base)).save_pretrained(base)
    listed = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    symbol = FAMILIES[family]["user_defined_symbols"][0]
    assert symbol in {token["content"] for token in listed if not token["normalized"]}
    both = BothForms(extended(base, text, tmp_path / "out", num_new_tokens=20))
    for line in (f"a{symbol}b {symbol} 我们{symbol}{symbol}打开", f"{symbol}user\n他说{symbol}\n"):
        assert both.decoded(both.ids(line)) == {line}
        assert both.ids(line).count(both.pieces.index(symbol)) == line.count(symbol)


def test_no_space_is_put_behind_a_special_token_where_the_bases_file_puts_none(tmp_path, lines, text):
    folder = tmp_path / "base"
    folder.mkdir()
    train_bpe(folder / "tokenizer.model", lines, NUM_PIECES, **FAMILIES["mistral v3"])
    LlamaTokenizer.from_pretrained(str(folder)).save_pretrained(folder)
    written = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert written["pre_tokenizer"]["prepend_scheme"] == "first"
    once = extended(folder, text, tmp_path / "once", num_new_tokens=20)
    twice = extended(once, text, tmp_path / "twice", num_new_tokens=9)
    old, *new = (AutoTokenizer.from_pretrained(str(f), local_files_only=True) for f in (folder, once, twice))
    for line in ("<s>[INST] the river[/INST]mill</s>", "[INST]the [/INST] mill", "the[INST]the", "the </s>", "[INST]"):
        ids = old.encode(line, add_special_tokens=False)
        assert [tokenizer.encode(line, add_special_tokens=False) for tokenizer in new] == [ids, ids]
        assert [tokenizer.decode(ids) for tokenizer in new] == [line, line]


def test_a_swap_keeps_symbols_bytes_and_the_corpuss_text(pruned, text):
    base, both, kept = pruned
    assert both.spm.vocab_size() == base.vocab_size()
    dropped = set(range(base.vocab_size())) - set(kept)
    assert len(dropped) > 10
    assert not any(base.is_control(i) or base.is_byte(i) or base.is_unknown(i) for i in dropped)
    whole = text.read_text(encoding="utf-8")
    assert len(both.ids(whole)) < len(base.encode(whole))
    assert both.decoded(both.ids(whole)) == {whole}


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_both_forms_agree_after_a_swap(pruned, text):
    base, both, _ = pruned
    if is_compared(text):
        ids = both.ids(text)
        if base.decode(base.encode(text)) == text:
            assert both.decoded(ids) == {text}
