"""``hanlm ppl`` from models and texts to a report: keys that others read, identical bytes, bad input refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.candidates import Candidate, load_candidate
from eval.ppl import PplConfig, plan, ppl
from eval.ppl_page import add_differences
from hanlm import plots
from hanlm.artifact import open_artifact
from hanlm.errors import ArtifactError, ConfigError, InputError
from hanlm.page import Page
from hanlm.publish import work_folder

EVIL = "<script>x"
FIGURE_KEYS = {"bits_per_byte", "bits_per_char", "num_bytes", "num_chars", "num_tokens", "ci95"}


@pytest.fixture(scope="module")
def other_model_folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture and tokenizer with other weights."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("other") / "other"
    shutil.copytree(tiny_model_folder, folder)
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder))
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def texts(chinese_file: Path, english_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chinese and English documents with their languages, Chinese under the tags that people write."""
    chinese = chinese_file.read_text(encoding="utf-8").splitlines()[:40]
    rows = [json.loads(line) | {"lang": ("zh", "zh_CN", "zh-Hant")[i % 3]} for i, line in enumerate(chinese)]
    rows += [json.loads(line) for line in english_file.read_text(encoding="utf-8").splitlines()[:30]]
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def report_folder(
    tiny_model_folder: Path, other_model_folder: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A report on two models, one of them with markup for a name."""
    return ppl(
        PplConfig(
            model=[f"base={tiny_model_folder}", f"{EVIL}={other_model_folder}"],
            data=[str(texts)],
            out=tmp_path_factory.mktemp("report") / "ppl",
            precision="fp32",
            num_resamples=200,
            length=64,
        )
    )


@pytest.fixture(scope="module")
def report(report_folder: Path) -> dict[str, Any]:
    return json.loads((report_folder / "report.json").read_text(encoding="utf-8"))


def test_report_holds_the_keys_that_others_read(report: dict[str, Any]):
    assert [model["name"] for model in report["models"]] == ["base", EVIL]
    for model in report["models"]:
        assert {"name", "path", "tokenizer_hash", "overall", "domains"} <= model.keys()
        assert set(model["domains"]) == {"story", "notes"}
        assert set(model["languages"]) == {"zh", "en"}
        for figures in [model["overall"], *model["domains"].values(), *model["languages"].values()]:
            assert figures.keys() >= FIGURE_KEYS
            assert figures["ci95"][0] <= figures["bits_per_byte"] <= figures["ci95"][1]
    assert {(d["a"], d["b"], d["domain"]) for d in report["differences"]} == {
        ("base", EVIL, domain) for domain in ("overall", "story", "notes")
    }
    assert {d["lang"] for d in report["language_differences"]} == {"zh", "en"}


def test_every_model_is_scored_on_the_same_bytes(report: dict[str, Any], texts: Path):
    rows = [json.loads(line)["text"] for line in texts.read_text(encoding="utf-8").splitlines()]
    first, second = report["models"]
    assert first["documents_hash"] == second["documents_hash"] == report["data"]["documents_hash"]
    assert first["overall"]["num_bytes"] == second["overall"]["num_bytes"] == sum(len(t.encode()) for t in rows)
    assert first["overall"]["num_chars"] == sum(map(len, rows))


def test_figures_follow_from_the_table_of_documents(report: dict[str, Any], report_folder: Path):
    import math

    rows = [json.loads(line) for line in (report_folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows if row["domain"] == "story"]
    bits = sum(row["nats"]["base"] for row in chosen) / math.log(2)
    figures = report["models"][0]["domains"]["story"]
    assert figures["bits_per_byte"] == pytest.approx(bits / sum(row["num_bytes"] for row in chosen))
    assert figures["bits_per_char"] == pytest.approx(bits / sum(row["num_chars"] for row in chosen))
    assert figures["num_tokens"] == sum(row["num_tokens"]["base"] for row in chosen)


def test_differences_are_second_minus_first(report: dict[str, Any]):
    first, second = report["models"]
    overall = next(d for d in report["differences"] if d["domain"] == "overall")
    expected = second["overall"]["bits_per_byte"] - first["overall"]["bits_per_byte"]
    assert overall["bits_per_byte"] == pytest.approx(expected)
    assert overall["ci95"][0] <= expected <= overall["ci95"][1]


def test_differences_against_the_first_model_are_drawn_apart(make_run: Callable[..., Path]):
    """They may be so large that no other could be seen on their scale."""
    page = Page("x")
    add_differences(page, json.loads((make_run() / "ppl" / "report.json").read_text(encoding="utf-8")))
    drawn = [json.loads(text) for text in re.findall(r'application/json">(.*?)</script>', page.render())]
    labels = [plot["data"][0]["customdata"] for plot in drawn]
    assert [any("base" in label for label in one) for one in labels] == [False, True]
    assert all("base" in label for label in labels[1])
    assert labels[0][0] == "all Chinese: extended → pretrained"
    assert labels[0][-1] == "overall: pretrained → control"
    assert len(labels[0]) + len(labels[1]) == 6 * 5  # English is one domain, and not drawn twice


def test_bars_beyond_random_bytes_are_cut_so_that_the_others_can_be_told_apart():
    colors = {"base": "var(--c0)", "other": "var(--c1)"}
    figure = plots.bars(["zh"], {"base": [16.1], "other": [2.5]}, unit="bits", colors=colors, limit=8.0)
    assert figure.layout.xaxis.range == (0, pytest.approx(8.8))
    assert [bar.text[0] for bar in figure.data] == ["16.100 →", "2.500"]
    assert plots.bars(["zh"], {"other": [2.5]}, unit="bits", colors=colors, limit=8.0).layout.xaxis.range is None


def test_token_perplexity_is_given_within_one_vocabulary(report: dict[str, Any]):
    (group,) = report["token_perplexity"]
    assert set(group["perplexity"]) == {"base", EVIL}


@pytest.mark.fault(25)
def test_page_escapes_the_names_of_models(report_folder: Path):
    page = (report_folder / "report.html").read_text(encoding="utf-8")
    assert EVIL not in page
    assert "&lt;script&gt;x" in page


def test_report_is_a_verified_artifact(report_folder: Path):
    artifact = open_artifact(report_folder, "report")
    assert set(artifact.manifest["files"]) == {"report.json", "report.html", "documents.jsonl"}
    assert {"model:base", "data:0"} <= artifact.manifest["inputs"].keys()


def config(tmp_path: Path, folder: Path, texts: Path, **changes: Any) -> PplConfig:
    return PplConfig(
        **{"model": [str(folder)], "data": [str(texts)], "out": tmp_path / "out", "num_resamples": 50} | changes
    )


@pytest.mark.fault(3)
@pytest.mark.parametrize(("damage", "scored_again"), [(False, ["second"]), (True, ["first", "second"])])
def test_after_ctrl_c_only_models_without_whole_scores_are_scored(
    tiny_model_folder: Path,
    other_model_folder: Path,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interrupt: Callable[..., str],
    damage: bool,
    scored_again: list[str],
):
    names = [f"first={tiny_model_folder}", f"second={other_model_folder}"]
    out = tmp_path / "out"
    words = ["--model", *names, "--data", texts, "--out", out, "--num-resamples", 50]
    interrupt("eval.document_scores.DocumentScores.save", "ppl", *words)
    assert not out.exists()
    (kept,) = work_folder(out).glob("scores-*")
    if damage:
        kept.write_bytes(kept.read_bytes()[:100])
    scored: list[str] = []

    def load(candidate: Candidate, **options: Any) -> Any:
        scored.append(candidate.name)
        return load_candidate(candidate, **options)

    monkeypatch.setattr("eval.candidates.load_candidate", load)
    ppl(config(tmp_path, tiny_model_folder, texts, model=names))
    assert scored == scored_again
    assert not work_folder(out).exists()


def test_a_sample_is_taken_of_each_domain(tiny_model_folder: Path, texts: Path, tmp_path: Path):
    out = ppl(config(tmp_path, tiny_model_folder, texts, max_documents=5, precision="fp32"))
    data = json.loads((out / "report.json").read_text(encoding="utf-8"))["data"]
    assert data["domains"] == {"notes": {"read": 30, "scored": 5}, "story": {"read": 40, "scored": 5}}


def test_plan_says_what_would_be_scored_and_scores_nothing(tiny_model_folder: Path, texts: Path, tmp_path: Path):
    lines = plan(config(tmp_path, tiny_model_folder, texts))
    assert any("windows of 256 tokens, 128 newly scored" in line for line in lines)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"length": 10_000}, "exceeds the context of"),
        ({"length": 8, "stride": 9}, "need stride <= length"),
        ({"max_bytes": 0}, "--max-bytes must be at least 1"),
        ({"data": []}, "at least one --data"),
        ({"model": []}, "at least one --model"),
    ],
)
def test_wrong_flags_are_refused(
    tiny_model_folder: Path, texts: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
):
    with pytest.raises(ConfigError, match=sentence):
        plan(config(tmp_path, tiny_model_folder, texts, **changes))


def test_two_models_of_one_name_are_refused(tiny_model_folder: Path, texts: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="name them"):
        plan(config(tmp_path, tiny_model_folder, texts, model=[str(tiny_model_folder)] * 2))


def test_missing_data_and_models_are_refused(tiny_model_folder: Path, texts: Path, tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        plan(config(tmp_path, tiny_model_folder, tmp_path / "nothing.jsonl"))
    with pytest.raises(InputError, match="expected a model folder"):
        plan(config(tmp_path, tmp_path / "nothing", texts))


@pytest.mark.fault(13)
def test_too_many_bad_lines_fail_the_run_and_can_be_read(tiny_model_folder: Path, tmp_path: Path):
    data = tmp_path / "bad.jsonl"
    data.write_bytes(b'{"text": "good"}\n' * 8 + b'{"text": "\xff"}\n{"text": \n')
    wanted = config(tmp_path, tiny_model_folder, data)
    with pytest.raises(InputError, match=r"got 2 of 10 .*invalid_utf8: 1, malformed_json: 1"):
        ppl(wanted)
    assert not wanted.out.exists()
    quarantined = (work_folder(wanted.out) / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["line"] for line in quarantined] == [9, 10]


@pytest.mark.fault(6)
def test_a_flipped_bit_in_the_weights_is_found_and_the_file_named(tiny_model_folder: Path, texts: Path, tmp_path: Path):
    from hanlm.publish import publish

    model = tmp_path / "model"
    with publish(model, kind="model", config={}) as draft:
        shutil.copytree(tiny_model_folder, draft.folder, dirs_exist_ok=True)
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model\.safetensors fails its checksum"):
        plan(config(tmp_path, model, texts))
