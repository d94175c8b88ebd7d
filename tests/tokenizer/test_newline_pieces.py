"""Line ends within pieces: the newline is no token of a LLaMA-like base, and yet `。` and a newline become one."""

import json
from pathlib import Path

import pytest
from extending import BothForms
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokenizer.extend import ExtendConfig, extend
from tokenizer.pieces import NEWLINE, segments
from tokenizer.proto import NORMAL, USER_DEFINED, read_proto
from tokenizer.spelling import fast_spelling

LINES = "他说，这本书很好。\n“你也读读吧。”\n\n第 一 章\n这本书他读了两遍。\n说完了……\n"
NEWLINES = st.lists(
    st.sampled_from(["\n", "。", "\n\n", "\r\n", "他", "说", "<0x0A>", "<", "”", " ", "x", "0", ">"]), max_size=30
).map("".join)


def check(forms: BothForms, text: str) -> None:
    assert forms.decoded(forms.ids(text)) == {text}


def extended(model: Path, folder: Path) -> BothForms:
    corpus = folder / "lines.jsonl"
    corpus.write_text((json.dumps({"text": LINES}) + "\n") * 20, encoding="utf-8")
    return BothForms(extend(ExtendConfig(base=model, corpus=(corpus,), num_new_tokens=90, out=folder / "out")))


def with_pieces(model: Path, folder: Path, pieces: list[str], kind: int) -> Path:
    """Write the model with further pieces of this kind, ranked last."""
    proto = read_proto(model)
    score = min(p.score for p in proto.pieces)
    for i, piece in enumerate(pieces):
        proto.pieces.add(piece=piece, score=score - 1 - i if kind == NORMAL else 0.0, type=kind)
    path = folder / "changed.model"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture(scope="module")
def llama_like(tiny_tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BothForms:
    return extended(tiny_tokenizer_folder / "tokenizer.model", tmp_path_factory.mktemp("newline"))


def test_a_line_end_after_chinese_joins_it_and_reaches_no_further():
    text = "他说。\n“好。”\n\n1\n end\n \n第 一\r\n。"
    assert segments(text, "han+punct+space") == ["他说。\n", "“好。”\n\n", "第▁一", "。"]
    assert all(NEWLINE not in segment for segment in segments(text, "han+punct"))


def test_pieces_hold_line_ends_and_one_line_end_more_costs_nothing(llama_like: BothForms):
    assert "。\n" in llama_like.pieces
    assert len(llama_like.spm.encode("他说。\n")) == len(llama_like.spm.encode("他说。"))
    assert NEWLINE not in llama_like.pieces


@settings(max_examples=400, deadline=None)
@given(NEWLINES)
@example("。<0x0A>")
@example("。\n<0x0A>\n。\n\n\n")
@example("。\r\n他")
@example("\n。\n")
def test_both_forms_agree_on_line_ends_and_give_the_text_back(llama_like: BothForms, text: str):
    check(llama_like, text)


def test_a_token_alone_decodes_to_its_text_as_streaming_does(llama_like: BothForms):
    ends = [i for i, piece in enumerate(llama_like.pieces) if NEWLINE in piece]
    assert ends
    for i in ends:
        text = llama_like.pieces[i].replace("▁", " ")
        assert llama_like.fast.decode([i]) == text.removeprefix(" ")
        assert llama_like.fast.decode([llama_like.spm.encode("他")[-1], i]).endswith(text)


def test_a_base_with_a_newline_of_its_own_spells_it_so(tiny_tokenizer_folder: Path, tmp_path: Path):
    model = with_pieces(tiny_tokenizer_folder / "tokenizer.model", tmp_path, ["\n", "\n\n"], NORMAL)
    forms = extended(model, tmp_path)
    assert "。\n" in forms.pieces
    assert forms.fast.convert_tokens_to_ids("。\n") == forms.pieces.index("。\n")
    for text in (LINES, "。\n\n\n他<0x0A>\n", "x\n\n。\n"):
        check(forms, text)


def test_a_newline_that_the_base_cuts_out_of_the_text_joins_nothing(tiny_tokenizer_folder: Path, tmp_path: Path):
    model = with_pieces(tiny_tokenizer_folder / "tokenizer.model", tmp_path, ["\n"], USER_DEFINED)
    forms = extended(model, tmp_path)
    assert [piece for piece in forms.pieces if NEWLINE in piece] == ["\n"]
    check(forms, "他说。\n“你也读读吧。”\n")


def test_a_report_shows_the_line_end_of_a_fast_vocabulary_too():
    model = {"byte_fallback": True}
    assert fast_spelling({"model": model}, {"。<0x0A>": 7, "<0x0A>": 8}) == {7: "。\n".encode(), 8: b"\n"}
