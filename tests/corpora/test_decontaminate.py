"""Evaluation texts found in documents, and what must not be taken for one."""

import json
import pickle
from pathlib import Path

import numpy as np
import opencc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.evaluation.build import build_index
from corpora.evaluation.config import ANCHOR, Decontamination
from corpora.evaluation.decontaminate import Decontaminate, match
from corpora.evaluation.exclusions import Exclusions
from corpora.evaluation.index import EvalIndex
from corpora.evaluation.ngrams import (
    Slots,
    anchor_hashes,
    find_sorted,
    ngram_hashes,
    ngram_hashes_at,
    num_covered_letters,
)
from corpora.evaluation.texts import Item, read_items
from corpora.facts import Facts
from corpora.folding import folded, folded_letters, to_text
from hanlm.errors import ArtifactError, ConfigError, InputError

QUESTION = "某工厂去年生产电池三万节，今年计划增加两成，请问今年计划生产多少节电池？"
PASSAGE = "村里的老人记得，这条河以前清得能看见底。" + "".join(
    f"到了第{n}年，{a}在河边种下了{b}，从此{c}每到春天都要来看一看。"
    for n, a, b, c in [("一", "张家", "柳树", "燕子"), ("二", "李家", "桃树", "蜜蜂"), ("三", "王家", "槐树", "孩子们")]
)
AROUND = "昨天下午我们去图书馆还书，回来的路上下起了大雨，只好在车站旁边的小店里等了半个小时。"


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    rows = [
        {"question": QUESTION, "choices": ["三万节", "三万六千节", "四万节", "五万节"], "answer": "B"},
        {"question": "最早的纸是谁改进的", "A": "蔡伦", "B": "毕昇", "C": "张衡", "D": "沈括", "answer": "A"},
        {"question": PASSAGE, "std_answer": "答案在第二年的那一句话里，因为那一年李家在河边种下了桃树。"},
        {"question": "对吗", "choices": ["对", "错"]},
        {"question": "The farmer planted forty trees along the river and watered every one of them until autumn came."},
    ]
    path = tmp_path / "exam.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def index(exam: Path) -> EvalIndex:
    return build_index([exam])


def test_a_planted_question_is_found_and_named(index: EvalIndex):
    found = match(index, f"{AROUND}\n{QUESTION}\n{AROUND}")
    assert found is not None
    assert (found.file, found.item, found.field, found.overlap) == ("exam.jsonl", 1, "question", 1.0)
    assert found.excerpt == QUESTION.removesuffix("？")
    assert found.entry("web:7") == {
        "id": "web:7",
        "file": "exam.jsonl",
        "item": 1,
        "field": "question",
        "overlap": 1.0,
        "num_ngrams": found.num_ngrams,
        "excerpt": found.excerpt,
    }


def test_case_width_script_and_punctuation_hide_nothing(index: EvalIndex):
    for text in (
        opencc.OpenCC("s2t").convert(QUESTION),
        QUESTION.replace("，", " ").replace("？", ""),
        "\n".join(QUESTION),
        "THE FARMER planted forty trees - along the river - and ｗａｔｅｒｅｄ every one of them until autumn came",
    ):
        assert match(index, AROUND + text + AROUND) is not None


def test_another_text_on_the_same_is_kept(index: EvalIndex):
    assert match(index, AROUND * 5) is None
    assert match(index, "这家工厂去年开始生产新型电池，今年的产量预计会增加三成。") is None
    assert match(index, QUESTION[:18] + AROUND) is None


def test_a_question_that_was_changed_at_its_end_is_still_found(index: EvalIndex):
    assert match(index, AROUND + QUESTION[:-6] + "做几个？" + AROUND) is not None


def test_a_short_question_is_found_only_with_its_choices(index: EvalIndex):
    found = match(index, f"{AROUND}\n1. 最早的纸是谁改进的？\nA. 蔡伦\nB. 毕昇\nC. 张衡\nD. 沈括\n{AROUND}")
    assert found is not None
    assert (found.item, found.overlap) == (2, 1.0)
    assert match(index, f"{AROUND}最早的纸是谁改进的？老师说是蔡伦。{AROUND}") is None


def test_a_short_question_without_choices_has_to_stand_alone(tmp_path: Path):
    (tmp_path / "short.txt").write_text("黄河的长度是多少公里\n", encoding="utf-8")
    index = build_index([tmp_path / "short.txt"])
    assert match(index, f"{AROUND}黄河的长度是多少公里？{AROUND}") is not None
    assert match(index, f"{AROUND}他问黄河的长度是多少公里来着。{AROUND}") is None


def test_a_long_run_of_a_passage_is_enough_whatever_its_share(tmp_path: Path):
    (tmp_path / "passage.txt").write_text(PASSAGE * 1 + AROUND + "".join(reversed(PASSAGE)), encoding="utf-8")
    limits = {"min_overlap": 0.9}
    half = AROUND[:5] + PASSAGE
    assert match(build_index([tmp_path / "passage.txt"], Decontamination(max_ngrams=40, **limits)), half) is not None
    assert match(build_index([tmp_path / "passage.txt"], Decontamination(max_ngrams=500, **limits)), half) is None


def test_the_name_of_a_law_is_no_evidence_of_the_question_that_names_it(tmp_path: Path):
    (tmp_path / "law.txt").write_text("《中华人民共和国食品安全法实施条例》是根据什么制定的\n", encoding="utf-8")
    index = build_index([tmp_path / "law.txt"])
    assert match(index, "根据《中华人民共和国食品安全法实施条例》的规定，经营者应当建立检查制度。") is None


def test_a_poem_or_an_idiom_that_a_question_quotes_is_no_leak(tmp_path: Path):
    (tmp_path / "poem.txt").write_text(
        "“床前明月光，疑是地上霜”这两句诗的作者是谁，他写下它们的时候身在什么地方？\n"
        "“塞翁失马，焉知非福”这个成语出自哪一部书，它说的是什么道理？\n",
        encoding="utf-8",
    )
    index = build_index([tmp_path / "poem.txt"])
    assert match(index, "床前明月光，疑是地上霜。举头望明月，低头思故乡。") is None
    assert match(index, "俗话说得好，塞翁失马，焉知非福，丢了工作未必是坏事。") is None


def test_choices_tell_only_together_and_what_they_share_counts_once(tmp_path: Path):
    names = [
        "掩饰隐瞒犯罪所得及其收益罪的从犯",
        "掩饰隐瞒犯罪所得及其收益罪的主犯",
        "掩饰隐瞒犯罪所得及其收益罪的教唆犯",
    ]
    (tmp_path / "choices.json").write_text(json.dumps([{"question": "他犯了", "choices": names}]), encoding="utf-8")
    index = build_index([tmp_path / "choices.json"])
    assert match(index, "法院认定他是掩饰隐瞒犯罪所得及其收益罪的从犯，判处有期徒刑两年。") is None
    assert match(index, "A." + "\nB.".join(names)) is not None


def test_of_two_texts_the_one_held_most_is_named(index: EvalIndex):
    found = match(index, QUESTION[:-8] + AROUND + PASSAGE)
    assert found is not None
    assert found.item == 3


def test_items_without_a_text_to_look_for_are_counted(index: EvalIndex):
    assert (index.num_items, index.num_unchecked) == (5, 1)


def test_an_index_saved_and_loaded_answers_the_same(index: EvalIndex, tmp_path: Path):
    index.save(tmp_path / "index.npz")
    texts = [AROUND + QUESTION, PASSAGE, AROUND, "最早的纸是谁改进的？A蔡伦B毕昇C张衡D沈括"]
    expected = [match(index, text) for text in texts]
    assert sum(found is not None for found in expected) == 3
    for other in (EvalIndex.load(tmp_path / "index.npz"), pickle.loads(pickle.dumps(index))):
        assert [match(other, text) for text in texts] == expected
        assert other.config == index.config
    rule = pickle.loads(pickle.dumps(Decontaminate(tmp_path / "index.npz")))
    assert [rule(Facts(text)) for text in texts] == ["contaminated", "contaminated", None, "contaminated"]
    assert rule.match(texts[0]) == expected[0]
    assert len(pickle.dumps(Decontaminate(tmp_path / "index.npz"))) < 1000


def test_a_damaged_index_is_refused(tmp_path: Path):
    for content in (b"", b"PK\x03\x04 broken"):
        (tmp_path / "index.npz").write_bytes(content)
        with pytest.raises(ArtifactError, match="build it anew"):
            EvalIndex.load(tmp_path / "index.npz")


def write_table(folder: Path) -> list[Path]:
    rows = [{"Question": QUESTION, "A": "三万节", "B": "三万六千节", "Answer": "B", "id": "一"}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "exam.parquet")
    (folder / "exam.csv").write_text(
        f"\ufeff,Question,A,B,Answer,id\n0,{QUESTION},三万节,三万六千节,B,一\n", encoding="utf-8"
    )
    (folder / "exam.tsv").write_text(
        f"Question\tA\tB\tAnswer\tid\n{QUESTION}\t三万节\t三万六千节\tB\t一\n", encoding="utf-8"
    )
    (folder / "exam.jsonl").write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    (folder / "exam.json").write_text(json.dumps(rows), encoding="utf-8")
    return sorted(folder.iterdir())


def test_every_format_gives_the_same_item(tmp_path: Path):
    for file in write_table(tmp_path):
        (item,) = read_items([file])
        assert (item.file, item.number) == (f"{tmp_path.name}/{file.name}"[len(tmp_path.name) + 1 :], 1)
        texts = dict(item.prose)
        assert (texts["Question"], texts["Answer"], item.choices) == (QUESTION, "B", ("三万节", "三万六千节"))
        assert match(build_index([file]), AROUND + QUESTION) is not None


def test_a_folder_is_read_in_order_with_the_files_named(tmp_path: Path):
    (folder := tmp_path / "exams").mkdir()
    names = [file.relative_to(tmp_path).as_posix() for file in write_table(folder)]
    assert [item.file for item in read_items([folder])] == names


def test_choices_are_known_by_their_fields_and_nested_ones_too(tmp_path: Path):
    row = {
        "passage": "短文",
        "choices": {"text": ["甲", "乙"], "label": ["A", "B"]},
        "option_c": "丙",
        "messages": [{"role": "user", "content": "问题"}],
    }
    (tmp_path / "nested.jsonl").write_text(json.dumps(row), encoding="utf-8")
    (item,) = read_items([tmp_path / "nested.jsonl"])
    assert {"甲", "乙", "丙"} <= set(item.choices)
    assert {text for _, text in item.prose} == {"短文", "user", "问题"}
    (chosen,) = read_items([tmp_path / "nested.jsonl"], ["passage"])
    assert chosen == Item("nested.jsonl", 1, (("passage", "短文"),), ())


def test_evaluation_files_that_say_nothing_or_are_broken_are_refused(tmp_path: Path):
    (tmp_path / "short.txt").write_text("短\n", encoding="utf-8")
    with pytest.raises(InputError, match="texts of 8 letters"):
        build_index([tmp_path / "short.txt"])
    (tmp_path / "bad.jsonl").write_text('{"question": "这一行是好的，下一行不是"}\n{"question": \n', encoding="utf-8")
    with pytest.raises(InputError):
        build_index([tmp_path / "bad.jsonl"])
    (tmp_path / "gbk.csv").write_bytes("问题\n这个文件不是统一码\n".encode("gbk"))
    with pytest.raises(InputError, match="UTF-8"):
        build_index([tmp_path / "gbk.csv"])
    with pytest.raises(InputError, match="one of the fields prompt"):
        build_index([tmp_path / "short.txt"], Decontamination(fields=("prompt",)))


@pytest.mark.parametrize("limits", [{"whole_letters": 2}, {"min_overlap": 0.0}, {"max_ngrams": 0}, {"han_letters": 5}])
def test_impossible_limits_are_refused(limits: dict[str, float]):
    with pytest.raises(ConfigError):
        Decontamination(**limits)


@given(st.text("甲乙丙，a ", max_size=60), st.integers(1, 20))
def test_hashes_agree_where_the_letters_do_and_nowhere_else(text: str, n: int):
    codes, _ = folded_letters(text)
    grams = [codes[start : start + n].tobytes() for start in range(len(codes) - n + 1)]
    hashes = ngram_hashes(codes, n).tolist()
    assert len(hashes) == len(grams)
    assert len(set(zip(grams, hashes, strict=True))) == len(set(grams)) == len(set(hashes))
    places, some = ngram_hashes_at(codes, np.arange(0, len(codes), 2), n)
    assert some.tolist() == [hashes[place] for place in places]


@given(st.text("甲乙丙丁戊", max_size=80), st.text("甲乙丙丁戊", max_size=80))
def test_the_slots_let_every_known_anchor_pass(known_text: str, text: str):
    known = np.unique(anchor_hashes(folded_letters(known_text)[0]))
    anchors = anchor_hashes(folded_letters(text)[0])
    assert len(anchors) == max(0, len(text) - ANCHOR + 1)
    at, found = find_sorted(known, anchors)
    assert at.tolist() == [place for place, anchor in enumerate(anchors) if anchor in known]
    assert (known[found] == anchors[at]).all()
    assert set(at.tolist()) <= set(Slots(known).places(anchors).tolist())


@given(st.sets(st.integers(0, 100), min_size=1), st.integers(1, 15))
def test_covered_letters_are_the_union_of_the_ngrams(starts: set[int], n: int):
    union = {place for start in starts for place in range(start, start + n)}
    assert num_covered_letters(np.array(sorted(starts)), n) == len(union)


@given(st.text(st.characters()))
def test_folding_keeps_one_code_a_character_and_knows_its_places(text: str):
    assert len(folded(text)) == len(text)
    letters, places = folded_letters(text)
    assert len(letters) == len(places)
    assert all(text[place].isalnum() or text[place] in "々〇" or ord(text[place]) > 0x3000 for place in places)
    assert to_text(folded(to_text(folded(text)))) == to_text(folded(text))


def test_folding_joins_case_width_and_script():
    assert to_text(folded_letters("Ａb，漢字 —１")[0]) == "ab汉字1"


def test_an_exclusion_is_a_rule_on_whole_texts():
    rule = Exclusions([QUESTION])
    assert rule(Facts(QUESTION.replace("，", "、"))) == "excluded"
    assert rule(Facts(QUESTION + AROUND)) is None
    assert pickle.loads(pickle.dumps(rule))(Facts(QUESTION)) == "excluded"


def test_the_excerpt_is_where_the_document_has_most(index: EvalIndex):
    found = match(index, QUESTION[:14] + AROUND * 5 + QUESTION)
    assert found is not None
    assert found.excerpt == QUESTION.removesuffix("？")
