"""The size advisor: its rule, what it counts, and what --num-new-tokens auto makes of it."""

import json
import random
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from extending import report_of
from hypothesis import given
from hypothesis import strategies as st

from hanlm.cli import main
from hanlm.errors import ConfigError, InputError
from hanlm.quarantine import Quarantine
from tokenizer.advice import MAX_RARE_SHARE, TOLERANCE, Size, advise, recommend
from tokenizer.cost import LLAMA_2_7B
from tokenizer.count import count_corpus
from tokenizer.extend import ExtendConfig, extend, plan
from tokenizer.families import read_base
from tokenizer.measure import measure_base
from tokenizer.occurrences import rare_shares
from tokenizer.vocabulary import STEP, learn_vocabulary

SHAPE = {"vocab_size": 320, "num_attention_heads": 4, "hidden_size": 64, "num_hidden_layers": 2}


def size(num_new_tokens: int, training: float, inference: float) -> Size:
    return Size(
        num_new_tokens=num_new_tokens,
        tokens_per_char={},
        tokens_per_char_overall=1.0,
        training_flops_per_char=training,
        inference_bytes_per_char=inference,
        rare_share=0.0,
        training_memory_bytes=0,
        inference_memory_bytes=0,
    )


COST = st.floats(1, 1000)
CURVES = st.lists(st.tuples(COST, COST), min_size=1, max_size=30)


def excess(sizes: list[Size], chosen: Size) -> float:
    training = chosen.training_flops_per_char / min(s.training_flops_per_char for s in sizes)
    return max(training, chosen.inference_bytes_per_char / min(s.inference_bytes_per_char for s in sizes))


@given(CURVES)
def test_the_smallest_size_near_both_minima_is_recommended(curve):
    sizes = [size(n, *costs) for n, costs in enumerate(curve, 1)]
    best = recommend(sizes)
    near = [s for s in sizes if excess(sizes, s) <= 1 + TOLERANCE]
    assert best is (near[0] if near else min(sizes, key=lambda s: excess(sizes, s)))


@given(st.integers(1, 64), st.integers(1, 64), st.floats(0.2, 0.6), st.floats(200, 20_000))
def test_a_model_with_more_layers_is_never_told_to_take_fewer_tokens(num_layers, more, floor, bend):
    """Tokens per character fall along a hyperbola; what a row costs then counts for less in a larger model."""

    def best(layers: int) -> int:
        shape = replace(LLAMA_2_7B, hidden_size=512, intermediate_size=1376, num_layers=layers)
        sizes = [
            size(n, r * shape.training_flops(32_000 + n, 0), r * shape.decoded_bytes(32_000 + n, 0))
            for n in range(STEP, 30_000, 5 * STEP)
            for r in [floor + 1 / (1 + n / bend)]
        ]
        return recommend(sizes).num_new_tokens

    assert best(num_layers) <= best(num_layers + more)


@pytest.fixture(scope="module")
def words_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand documents whose words, of one to three characters, are as unevenly frequent as a language's."""
    draw = random.Random(0)
    words = [
        "".join(chr(draw.randrange(0x4E00, 0x4FFF)) for _ in range(draw.choice((1, 2, 2, 3)))) for _ in range(1500)
    ]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    path = tmp_path_factory.mktemp("words") / "words.jsonl"
    rows = [{"text": "".join(draw.choices(words, weights, k=40)) + "。", "domain": "story"} for _ in range(2000)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def learned(tiny_tokenizer_folder, words_file):
    base = read_base(tiny_tokenizer_folder / "tokenizer.model")
    corpus = count_corpus([words_file], Quarantine(), partial(base.segments, pieces="han+punct+space"))
    return base, corpus, learn_vocabulary(base, corpus, "han+punct+space", "none", 2000, exponent=0.5)


def advised(base, corpus, vocabulary, shape):
    return advise(base, corpus, vocabulary, shape, measure_base(base.forms(), corpus.held_out))


def occurrences(base, corpus, pieces: list[str]) -> list[int]:
    """Tokenize every segment with just these pieces and count."""
    tokenizer = base.extended(pieces)
    counts: Counter[int] = Counter()
    for found in corpus.segments.values():
        for segment, weight in found.items():
            for i in tokenizer.encode(["\n" + base.plain(segment)])[0]:
                counts[i] += weight
    return [counts[base.num_tokens + i] for i in range(len(pieces))]


@pytest.mark.parametrize("least", [5, 20, 100])
def test_rare_tokens_at_every_size_are_those_that_tokenizing_again_finds(learned, least):
    base, corpus, vocabulary = learned
    shares = rare_shares(base, corpus, vocabulary.pieces, least)
    assert shares[0] == 0
    assert 0 < shares.max() < 1
    for n in range(1, len(vocabulary.pieces) + 1, 97):
        counts = occurrences(base, corpus, vocabulary.pieces[:n])
        assert shares[n] == pytest.approx(sum(count < least for count in counts) / n)


def test_costs_follow_from_what_a_tokenizer_of_that_size_makes_of_held_out_text(learned):
    base, corpus, vocabulary = learned
    advice = advised(base, corpus, vocabulary, replace(LLAMA_2_7B, num_rows=base.num_tokens))
    num_chars = sum(map(len, corpus.held_out["story"]))
    assert len(advice.sizes) > 5
    for point in [advice.base, *advice.sizes]:
        tokenizer = base.extended(vocabulary.pieces[: point.num_new_tokens])
        ratio = tokenizer.count(corpus.held_out["story"]) / num_chars
        assert point.tokens_per_char_overall == point.tokens_per_char["story"] == pytest.approx(ratio)
        rows = base.num_tokens + point.num_new_tokens
        assert point.training_flops_per_char == pytest.approx(ratio * LLAMA_2_7B.training_flops(rows, 1000 * ratio))
        assert point.inference_bytes_per_char == pytest.approx(ratio * LLAMA_2_7B.decoded_bytes(rows, 1000 * ratio))
        assert point.training_memory_bytes == 16 * 2 * 4096 * point.num_new_tokens


def test_the_corpus_bounds_the_recommendation_and_the_reason_is_told(learned):
    base, corpus, vocabulary = learned
    advice = advised(base, corpus, vocabulary, replace(LLAMA_2_7B, num_rows=base.num_tokens))
    assert advice.bound_by == "corpus"
    assert advice.recommended.rare_share <= MAX_RARE_SHARE < advice.by_cost.rare_share
    assert "more text allows more tokens" in " ".join(advice.explanation())
    much = replace(corpus, segments={d: {s: 1000 * n for s, n in f.items()} for d, f in corpus.segments.items()})
    enough = advised(base, much, vocabulary, advice.shape)
    assert enough.recommended.num_new_tokens > advice.recommended.num_new_tokens


def test_a_corpus_too_small_for_any_size_is_called_so(learned):
    base, corpus, vocabulary = learned
    few = replace(corpus, segments={d: dict.fromkeys(list(f)[:50], 1) for d, f in corpus.segments.items()})
    advice = advised(base, few, vocabulary, replace(LLAMA_2_7B, num_rows=base.num_tokens))
    assert advice.recommended is advice.sizes[0]
    assert "too small to judge by" in " ".join(advice.explanation())


def auto(base: Path, corpus: Path, out: Path, **changes: object) -> dict:
    config = ExtendConfig(base=base, corpus=(corpus,), num_new_tokens="auto", out=out, prior="none")
    return report_of(extend(replace(config, **changes)))


@pytest.mark.parametrize("prior", ["none", "jieba"])
def test_with_one_domain_auto_gives_byte_for_byte_what_that_number_would_have_given(
    tiny_model_folder, words_file, tmp_path, prior
):
    report = auto(tiny_model_folder, words_file, tmp_path / "auto", prior=prior)
    taken = report["num_new_tokens"]
    assert taken == report["advice"]["recommended_num_new_tokens"] == report["num_requested_tokens"]
    assert taken < report["advice"]["sizes"][-1]["num_new_tokens"]
    number = auto(tiny_model_folder, words_file, tmp_path / "number", prior=prior, num_new_tokens=taken)
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"):
        assert (tmp_path / "auto" / name).read_bytes() == (tmp_path / "number" / name).read_bytes()
    for key in ("new_pieces", "gains", "tokens_per_char", "tokens_per_char_overall", "verification"):
        assert report[key] == number[key]
    assert report["size_curve"][0] == number["size_curve"][0]
    assert report["size_curve"][-1] == number["size_curve"][-1]
    assert max(s["num_new_tokens"] for s in number["advice"]["sizes"]) == taken


def test_with_several_domains_auto_gives_the_size_it_recommends_and_what_it_told_of_it(
    tiny_model_folder, words_file, tmp_path
):
    """The pieces may be others than for that number, since they are chosen from more."""
    rows = [json.loads(line) for line in words_file.read_text(encoding="utf-8").splitlines()]
    named = [row | {"domain": ("story", "news", "law")[i % 3]} for i, row in enumerate(rows)]
    domains = tmp_path / "domains.jsonl"
    domains.write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    report = auto(tiny_model_folder, domains, tmp_path / "auto")
    told = {point["num_new_tokens"]: point for point in report["advice"]["sizes"]}
    taken = report["num_new_tokens"]
    assert taken == report["advice"]["recommended_num_new_tokens"] == len(report["new_pieces"]) < max(told)
    assert report["tokens_per_char_overall"]["extended"] == pytest.approx(told[taken]["tokens_per_char_overall"])
    for domain in ("story", "news", "law"):
        per_char = report["tokens_per_char"][domain]
        assert per_char["base"] > per_char["extended"] == pytest.approx(told[taken]["tokens_per_char"][domain])
    checks = ("dead_tokens", "changed_lines", "sentencepiece_fast_mismatches", "round_trip_failures")
    assert [report["verification"][name] for name in checks] == [0, 0, 0, 0]


def test_a_larger_model_is_told_to_take_more_tokens(tiny_tokenizer_folder, words_file, tmp_path, monkeypatch):
    monkeypatch.setattr("tokenizer.advice.MIN_OCCURRENCES", 0)
    taken = []
    for num_layers in (1, 200):
        (tmp_path / "config.json").write_text(json.dumps({**SHAPE, "num_hidden_layers": num_layers}))
        out = tmp_path / str(num_layers)
        model = tiny_tokenizer_folder / "tokenizer.model"
        taken.append(auto(model, words_file, out, advise_for=tmp_path)["num_new_tokens"])
    assert taken[0] < taken[1]


def test_the_report_shows_the_advice_for_a_number_too(extended_folder, tiny_model_folder):
    report = report_of(extended_folder)
    advice, config = report["advice"], json.loads((tiny_model_folder / "config.json").read_text())
    assert advice["model"]["hidden_size"] == config["hidden_size"]
    assert advice["sizes"][-1]["num_new_tokens"] == report["num_new_tokens"]
    last = advice["sizes"][-1]
    assert last["tokens_per_char"]["story"] == pytest.approx(report["tokens_per_char"]["story"]["extended"])
    assert advice["sizes"][0]["training_relative"] == advice["sizes"][0]["inference_relative"] == 1
    assert last["training_relative"] < 1
    page = (extended_folder / "vocab_report.html").read_text(encoding="utf-8")
    assert "How many tokens to add" in page
    assert f"{advice['recommended_num_new_tokens']:,} new tokens" in page


def test_a_bare_tokenizer_is_advised_for_llama_2_7b_and_says_so(tiny_tokenizer_folder, chinese_file, tmp_path, capsys):
    config = ExtendConfig(
        base=tiny_tokenizer_folder / "tokenizer.model",
        corpus=(chinese_file,),
        num_new_tokens="auto",
        out=tmp_path / "out",
    )
    assert "LLaMA-2-7B" in " ".join(plan(config))
    report = report_of(extend(config))
    assert report["advice"]["model"]["name"] == "LLaMA-2-7B"
    assert "Recommended" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["flag", "yaml"])
def test_auto_is_taken_from_the_command_line_and_from_yaml(tiny_model_folder, chinese_file, tmp_path, form, capsys):
    words = ["extend-vocab", "--base", tiny_model_folder, "--corpus", chinese_file, "--out", tmp_path / "out"]
    if form == "yaml":
        (tmp_path / "c.yaml").write_text("num_new_tokens: auto\n")
    words += ["--num-new-tokens", "auto"] if form == "flag" else ["--config", tmp_path / "c.yaml"]
    for extra in (["--dry-run"], []):
        with pytest.raises(SystemExit) as done:
            main([str(word) for word in [*words, *extra]])
        assert done.value.code == 0
    assert "num_new_tokens: auto" in capsys.readouterr().out
    assert (tmp_path / "out" / "tokenizer.model").is_file()


def test_neither_a_number_nor_auto_is_refused(tiny_model_folder, chinese_file, tmp_path, capsys):
    words = ["extend-vocab", "--base", tiny_model_folder, "--corpus", chinese_file, "--out", tmp_path / "out"]
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in [*words, "--num-new-tokens", "many"]])
    said = capsys.readouterr().err
    assert done.value.code == 2
    assert "many" in said
    assert "auto" in said


@pytest.mark.parametrize(("name", "value"), [("num_new_tokens", "auto"), ("advise_for", Path("config.json"))])
def test_merge_spm_refuses_what_only_learning_can_do(tmp_path, name, value):
    right = {"base": tmp_path, "corpus": (tmp_path,), "num_new_tokens": 9, "out": tmp_path, "method": "merge-spm"}
    with pytest.raises(ConfigError, match="continued-bpe"):
        ExtendConfig(**(right | {name: value}))


def test_a_model_whose_costs_are_unknown_is_refused_for_auto_alone(model_copy, chinese_file, tmp_path, capsys):
    config = json.loads((model_copy / "config.json").read_text())
    del config["num_attention_heads"]
    (model_copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"num_attention_heads.*--advise-for"):
        auto(model_copy, chinese_file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert auto(model_copy, chinese_file, tmp_path / "out", num_new_tokens=9)["advice"] is None
    assert "no advice on the size" in capsys.readouterr().err
