"""Every recipe that HanLM ships is checked by the commands it names, and says where its numbers are from."""

import re
from pathlib import Path

import pytest
import yaml

from hanlm.cli import main
from hanlm.errors import ConfigError
from hanlm.recipe_file import read_recipe, recipes_folder

NAMES = sorted(path.stem for path in recipes_folder().glob("*.yaml"))
OWN = ("demo", "smollm2-135m")


def inputs_of(name: str) -> list[str]:
    """Return the changes that give a recipe every input it must have, each a path that need not be there."""
    declared = yaml.safe_load((recipes_folder() / f"{name}.yaml").read_text(encoding="utf-8")).get("inputs", {})
    return [f"{key}=/nowhere/{key}" for key, entry in declared.items() if isinstance(entry, str)]


def test_the_recipes_of_the_literature_are_there():
    assert {
        *("belle-rows", "chinese-llama", "chinese-llama-2", "chinese-llama-3", "colossal-llama-2"),
        *("linly", "llama-pro", "lmflow", *OWN),
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_is_one_that_its_command_takes(name: str, tmp_path: Path):
    recipe = read_recipe(name, tmp_path, inputs_of(name))
    assert len(recipe.stages) >= 4
    assert {"ppl", "report"} <= set(recipe.stages)
    unread = [key for key in recipe.inputs if f"/nowhere/{key}" not in str([s.with_ for s in recipe.stages.values()])]
    assert all(recipe.inputs[key] == [] for key in unread)  # what may be left out


@pytest.mark.parametrize("name", [name for name in NAMES if name != "demo"])
def test_a_recipe_states_source_published_result_and_hardware(name: str, tmp_path: Path):
    about = read_recipe(name, tmp_path, inputs_of(name)).about
    assert set(about) == {"description", "source", "result", "hardware"}
    if name not in OWN:
        assert re.search(r"github\.com/[\w-]+/[\w-]+", about["source"])
        assert re.search(r"\d", about["result"])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN])
def test_a_recipe_without_its_inputs_says_which_and_how(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as refused:
        main(["run", name, "--out", str(tmp_path / "run"), "--dry-run"])
    said = capsys.readouterr().err.strip()
    assert refused.value.code == 2
    assert len(said.splitlines()) == 1
    assert all(f"--set {change.partition('=')[0]}=PATH" in said for change in inputs_of(name))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("pretrained.phases.1.stepss=3", "unknown key 'stepss'"),
        ("pretrained.phases.1.steps=many", "stage pretrained"),
        ("pretrained.phases.0.trainable=everything", "stage pretrained"),
        ("pretrained.phases.7.steps=3", "expected pretrained.phases.7 to hold keys"),
        ("pretrained.lora.rank=0", "--lora.rank must be at least 1"),
        ("pretrained.processes=none", "expected `processes` of 1 or more"),
        ("baze=/models", "takes base, zh, spm, got --set baze"),
        ("zh=[/a, ", "the list is not valid YAML"),
        ("zh=", "expects a path or a list of them, got nothing"),
    ],
)
def test_a_change_that_a_stage_cannot_take_is_refused_before_anything_runs(tmp_path: Path, change: str, words: str):
    with pytest.raises(ConfigError, match=words):
        read_recipe("chinese-llama", tmp_path, [*inputs_of("chinese-llama"), change])


def test_changes_reach_into_lists_and_to_the_number_of_processes(tmp_path: Path):
    changes = ["pretrained.phases.1.steps=3", "pretrained.processes=2", "zh=[/a, /b]"]
    recipe = read_recipe("chinese-llama", tmp_path, [*inputs_of("chinese-llama"), *changes])
    assert recipe.stages["pretrained"].with_["phases"][1]["steps"] == 3
    assert recipe.stages["pretrained"].processes == 2
    assert recipe.stages["corpus"].with_["input"] == ["/a", "/b"]


def test_a_path_that_was_given_and_is_not_there_is_told_by_a_dry_run_and_refused_by_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    argv = ["run", "chinese-llama", "--out", str(tmp_path / "run"), "--set", *inputs_of("chinese-llama")]
    main_code(argv, "--dry-run")
    said = capsys.readouterr().out
    assert "# base: there is no /nowhere/base" in said
    assert "#     base: /nowhere/base" in said
    assert "# pretrained: hanlm pretrain: would run in 8 processes" in said
    assert main_code(argv) == 2
    assert "there is no /nowhere/base; check the path" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def main_code(argv: list[str], *more: str) -> object:
    with pytest.raises(SystemExit) as left:
        main([*argv, *more])
    return left.value.code


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inputs: [a]", "expected inputs to map each name"),
        ("inputs: {a: 3}", "expected input a to be a sentence"),
        ("inputs: {a: {help: x}}", "expected input a to be a sentence"),
        ("inputs: {run: x}", "none of run, recipe, logs"),
        ("inputs: {a: x, s: y}", "both an input and a stage"),
        ("inputs: {a: x, b: {help: y, default: [p, q]}}", "expected one path for b"),
    ],
)
def test_a_wrong_declaration_of_inputs_is_named(tmp_path: Path, text: str, words: str):
    path = tmp_path / "r.yaml"
    stages = '\nstages: {s: {command: ppl, with: {model: ["x=${b}"], data: [d]}}}\n'
    path.write_text(text + stages, encoding="utf-8")
    given = [f"{key}=/x" for key in ("a", "s", "run") if f"{{{key}:" in text or f", {key}:" in text]
    with pytest.raises(ConfigError, match=words):
        read_recipe(str(path), tmp_path / "out", given)


def test_an_input_that_was_left_out_takes_no_place(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "inputs: {more: {help: more text, default: []}}\n"
        'stages: {a: {command: corpus build, with: {input: [/own, "${more}"]}}}\n',
        encoding="utf-8",
    )
    assert read_recipe(str(path), tmp_path).stages["a"].with_["input"] == ["/own"]
    assert read_recipe(str(path), tmp_path, ["more=/m"]).stages["a"].with_["input"] == ["/own", "/m"]
