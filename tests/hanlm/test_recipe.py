"""`hanlm run`: order, references, skipping, staleness, stopping and going on. The stages are real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hanlm.artifact import open_artifact
from hanlm.cli import main
from hanlm.errors import ConfigError, HanLMError, InputError
from hanlm.locks import exclusive
from hanlm.recipe import RunConfig, plan, run
from hanlm.recipe_file import read_recipe

RECIPE = """
description: two corpora, the second made from the first
stages:
  first:
    command: corpus build
    with: {input: [SOURCE], min_chars: 5}
  second:
    command: corpus build
    with: {input: ["${first}"], min_chars: 8}
"""


@pytest.fixture
def recipe(tmp_path: Path, chinese_file: Path) -> Path:
    source = tmp_path / "source.jsonl"
    source.write_text("\n".join(chinese_file.read_text(encoding="utf-8").splitlines()[:50]), encoding="utf-8")
    path = tmp_path / "two.yaml"
    path.write_text(RECIPE.replace("SOURCE", str(source)), encoding="utf-8")
    return path


def skipped(config: RunConfig) -> list[bool]:
    """Return of each stage whether it would be skipped."""
    return ["would be skipped" in line for line in plan(config) if "hanlm corpus build" in line]


def stages_run(out: Path) -> dict[str, int]:
    """Return when each stage was written, which tells one that was run again from one that was skipped."""
    return {name: (out / name / "manifest.json").stat().st_mtime_ns for name in ("first", "second")}


@pytest.mark.slow
def test_a_finished_stage_is_skipped_and_a_changed_one_is_redone_with_what_depends_on_it(recipe: Path, tmp_path: Path):
    config = RunConfig(recipe=str(recipe), out=tmp_path / "out")
    assert [line.splitlines()[0] for line in plan(config)] == [
        "description: two corpora, the second made from the first",
        "first: hanlm corpus build: would run",
        "second: hanlm corpus build: would run",
    ]
    assert f"    - {tmp_path / 'out' / 'first'}" in plan(config)[2]  # the resolved configuration
    run(config)
    before = stages_run(config.out)
    assert open_artifact(config.out / "second", "corpus")
    assert skipped(config) == [True, True]
    run(config)
    assert stages_run(config.out) == before
    by_hand = ["corpus", "build", "--config", str(config.out / "logs" / "second.yaml")]
    with pytest.raises(SystemExit) as refused:
        main(by_hand)  # repeating a stage by hand replaces nothing by accident
    assert refused.value.code == 2
    assert stages_run(config.out) == before

    changed = RunConfig(recipe=str(recipe), out=config.out, set=["second.min_chars=9"])
    assert skipped(changed) == [True, False]
    run(changed)
    after = stages_run(config.out)
    assert after["first"] == before["first"]
    assert after["second"] != before["second"]

    source = tmp_path / "source.jsonl"
    source.write_text(source.read_text(encoding="utf-8").replace("抽屉", "柜子"), encoding="utf-8")
    assert skipped(changed) == [False, False]


@pytest.mark.slow
@pytest.mark.fault(6)
def test_a_damaged_result_is_made_again_and_what_depends_on_it_is_not(recipe: Path, tmp_path: Path):
    config = RunConfig(recipe=str(recipe), out=tmp_path / "out")
    run(config)
    before = stages_run(config.out)
    (part,) = (config.out / "first").glob("train-*")
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    part.write_bytes(damaged)
    run(config)
    assert open_artifact(config.out / "first", "corpus")
    after = stages_run(config.out)
    assert after["first"] != before["first"]
    assert after["second"] == before["second"]
    (config.out / "second" / "manifest.json").unlink()
    assert skipped(config) == [True, False]


def test_a_failing_stage_stops_the_run_and_keeps_what_is_finished(recipe: Path, tmp_path: Path):
    config = RunConfig(recipe=str(recipe), out=tmp_path / "out", set=["second.min_chars=1000000"])
    with pytest.raises(HanLMError, match=r"stage second .* ended with code 2"):
        run(config)
    assert open_artifact(config.out / "first", "corpus")
    assert not (config.out / "second").exists()
    assert "hanlm:" in (config.out / "logs" / "second.log").read_text(encoding="utf-8")
    run(RunConfig(recipe=str(recipe), out=config.out))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("stages: {}", ConfigError, "expected stages"),
        ("stagess: {a: {command: ppl}}", ConfigError, "unknown key 'stagess'"),
        ("stages: {a: {command: pretrian}}", ConfigError, "unknown command 'pretrian'"),
        ("stages: {a: {command: corpus build, wiht: {}}}", ConfigError, "did you mean 'with'"),
        ("stages: {a: {command: corpus build, with: {inputt: [x]}}}", ConfigError, "did you mean 'input'"),
        ('stages: {a: {command: corpus build, with: {input: ["${b}"]}}}', ConfigError, "no earlier stage"),
        ("stages: [", ConfigError, "not valid YAML"),
        ("stages: {a: {command: corpus build, with: [x]}}", ConfigError, "expected `with` to hold"),
        ("stages: {a: {command: corpus build, processes: two}}", ConfigError, "expected `processes` of 1 or more"),
        ("stages: {1: {command: corpus build}}", ConfigError, "the name of a stage or an input is a word"),
        ("stages: {logs: {command: corpus build}}", ConfigError, "none of run, recipe, logs"),
        ("stages: {../x: {command: corpus build}}", ConfigError, "the name of a stage or an input is a word"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_runs(tmp_path: Path, text: str, error: type[HanLMError], words: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=words):
        read_recipe(str(path), tmp_path / "out")


def test_an_unknown_recipe_names_those_that_are_shipped(tmp_path: Path):
    with pytest.raises(InputError, match="demo"):
        read_recipe("nonsense", tmp_path)


def test_the_shipped_recipes_are_valid(tmp_path: Path):
    stages = read_recipe("demo", tmp_path).stages
    assert {"extended", "pretrained", "control", "ppl", "report"} <= set(stages)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_with_code_75_and_the_same_command_goes_on(recipe: Path, tmp_path: Path, sent: int):
    argv = [sys.executable, "-m", "hanlm", "run", str(recipe), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "out" / "logs" / "first.yaml"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert open_artifact(tmp_path / "out" / "second", "corpus")


def test_two_runs_never_write_into_one_folder(recipe: Path, tmp_path: Path):
    held = exclusive(tmp_path / "out" / ".lock", "it")
    with held, pytest.raises(HanLMError, match="another hanlm process"):
        run(RunConfig(recipe=str(recipe), out=tmp_path / "out"))


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["source.jsonl", "."])
def test_an_input_beside_the_working_directory_is_watched_too(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
):
    folder = tmp_path / "texts"
    folder.mkdir()
    source = (tmp_path / "source.jsonl").rename(folder / "source.jsonl")
    recipe.write_text(RECIPE.replace("SOURCE", entry), encoding="utf-8")
    monkeypatch.chdir(folder)
    config = RunConfig(recipe=str(recipe), out=tmp_path / "out")
    run(config)
    assert skipped(config) == [True, True]
    source.write_text(source.read_text(encoding="utf-8").replace("抽屉", "柜子"), encoding="utf-8")
    assert skipped(config) == [False, False]


def test_inputs_are_the_paths_of_a_configuration_by_the_types_of_its_fields(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "stages:\n"
        "  a: {command: corpus build, with: {input: [x.txt], domain: x.txt}}\n"
        '  b: {command: ppl, with: {model: ["one=${a}", plain], data: ["zh=dir/y=z.txt"], precision: auto}}\n'
        '  c: {command: report, with: {run: "${run}"}}\n',
        encoding="utf-8",
    )
    stages = read_recipe(str(path), tmp_path / "out").stages
    a, b = str(tmp_path / "out" / "a"), str(tmp_path / "out" / "b")
    assert stages["a"].inputs == ("x.txt",)
    assert stages["b"].inputs == (a, "plain", "dir/y=z.txt")
    assert stages["c"].inputs == (a, b)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("a.lang=[1", "not valid YAML"),
        ("a.lang.x=1", "expected a.lang to hold keys, got 'zh'"),
        ("a=1", "changes to a stage are --set STAGE.KEY=VALUE"),
        ("b.lang=1", "--set takes"),
        ("a.=1", "--set takes"),
        ("a.langg=en", "unknown key 'langg'"),
    ],
)
def test_a_wrong_change_is_named(tmp_path: Path, change: str, words: str):
    path = tmp_path / "r.yaml"
    path.write_text("stages: {a: {command: corpus build, with: {input: [x], lang: zh}}}", encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        read_recipe(str(path), tmp_path / "out", [change])


def test_a_change_needs_no_configuration_to_be_there(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_text("stages: {a: {command: corpus build, with: }}", encoding="utf-8")
    stages = read_recipe(str(path), tmp_path, ["a.lang=en", "a.input=[x]"]).stages
    assert stages["a"].with_ == {"lang": "en", "input": ["x"]}


@pytest.mark.parametrize("state", ["[]", "{", '{"stages": []}'])
def test_a_corrupt_memory_of_the_run_is_named(recipe: Path, tmp_path: Path, state: str):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(state)
    with pytest.raises(InputError, match=r"run\.json is corrupt"):
        run(RunConfig(recipe=str(recipe), out=tmp_path / "out"))


def test_a_change_of_one_stage_leaves_another_that_shares_an_anchor_with_it(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "stages:\n"
        "  one: {command: pretrain, with: &same {model: m, tokens: [t], steps: 1, mix: {zh: 0.8}}}\n"
        "  two: {command: pretrain, with: {<<: *same, model: n}}\n"
    )
    stages = read_recipe(str(recipe), tmp_path / "run", ["one.mix.zh=0.5"]).stages
    assert stages["one"].with_["mix"] == {"zh": 0.5}
    assert stages["two"].with_["mix"] == {"zh": 0.8}
