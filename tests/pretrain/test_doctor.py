"""`hanlm doctor`: a sound run passes, and every fault has a line, a remedy and exit code 2."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hanlm.cli import main
from pretrain.config import Phase
from pretrain.families import read_shape
from pretrain.planning import links, machine
from pretrain.planning.findings import Report
from pretrain.planning.machine import Facts, compare, look_at_memory


@pytest.fixture
def examine(extended_model, tiny_tokens, tmp_path, capsys):
    """Return a function that types `hanlm doctor`: its exit code, its lines by topic, and its last words."""

    def run(*flags: str, model: Path = extended_model, tokens: Path = tiny_tokens):
        words = ["doctor", "--model", str(model), "--tokens", str(tokens), "--out", str(tmp_path / "out")]
        words += ["--seq-length", "32", "--global-batch-size", "4", "--steps", "4", "--precision", "fp32", *flags]
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        lines = [line for line in said.out.splitlines() if line[:8].strip() in ("ok", "warning", "fault")]
        assert lines
        topics: dict[str, list[tuple[str, str]]] = {}
        for line in lines:
            topic, _, text = line[8:].partition(": ")
            topics.setdefault(topic, []).append((line[:8].strip(), text))
        return ended.value.code, topics, said.err.strip()

    return run


def test_a_sound_run_has_no_faults_and_leaves_nothing_behind(examine, tmp_path):
    before = set(tmp_path.iterdir())
    code, topics, words = examine()
    assert code == 0, words
    assert not any(level == "fault" for lines in topics.values() for level, _ in lines)
    for topic in (
        "model",
        "layout",
        "tokens",
        "tokenizer",
        "masked",
        "new tokens",
        "versions",
        "memory",
        "disk",
        "files",
    ):
        assert [level for level, _ in topics[topic]] == ["ok"], topic
    assert "largest id 319 of 320" in topics["masked"][0][1]
    assert set(tmp_path.iterdir()) == before


def test_a_yaml_of_pretrain_is_read_and_flags_override_it(extended_model, tiny_tokens, tmp_path, capsys):
    file = tmp_path / "pretrain.yaml"
    settings = {"model": str(extended_model), "tokens": [str(tiny_tokens)], "out": str(tmp_path / "out"), "steps": 4}
    file.write_text(json.dumps(settings | {"seq_length": 32, "global_batch_size": 4}))
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--config", str(file), "--global-batch-size", "6"])
    assert ended.value.code == 0
    assert "of 6 sequences a step" in capsys.readouterr().out


def test_memory_is_that_of_the_phase_that_takes_most(settings, extended_model):
    shape, report = read_shape(extended_model), Report()
    given = {"num_devices": 0, "local_rank": 0, "versions": {}, "inputs": (), "faults": ()}
    facts = [Facts(rank=0, host="here", device="cpu", free_bytes=2**40, **given)]

    def needed(*kinds: str) -> int:
        return look_at_memory(settings(phases=[Phase(trainable=kind, steps=1) for kind in kinds]), shape, facts, report)

    assert needed("new_rows") < needed("embeddings") < needed("all")
    assert needed("new_rows", "all", "new_rows") == needed("all")
    assert needed("new_rows", "lora") > needed("lora") - 1 > needed("new_rows")
    assert needed("new_rows", "lora") < needed("all")


def test_a_dry_run_of_lora_leaves_no_adapter(examine, tmp_path):
    before = set(tmp_path.iterdir())
    code, topics, said = examine(
        "--trainable", "lora", "--rows", "all", "--dry-run-steps", "2", "--new-rows-steps", "3"
    )
    assert code == 0, said
    [(level, text)] = topics["dry run"]
    assert level == "ok", text
    assert "4 steps" in text  # two of each phase
    assert set(tmp_path.iterdir()) == before


def test_a_dry_run_trains_saves_publishes_and_is_removed(examine, tmp_path):
    before = set(tmp_path.iterdir())
    code, topics, words = examine("--dry-run-steps", "2", "--new-rows-steps", "3")
    assert code == 0, words
    [(level, text)] = topics["dry run"]
    assert level in ("ok", "warning")
    assert text.startswith("4 steps, last loss ")  # two of each phase
    assert "by the formula" in text
    assert set(tmp_path.iterdir()) == before


@pytest.mark.fault(18)
def test_a_cut_token_file_is_a_fault_that_names_it(examine, tiny_tokens, tmp_path):
    tokens = shutil.copytree(tiny_tokens, tmp_path / "tokens")
    file = sorted(tokens.glob("*.bin"))[0]
    file.write_bytes(file.read_bytes()[:-2])
    code, topics, words = examine(tokens=tokens)
    assert code == 2
    [(level, text)] = topics["tokens"]
    assert level == "fault"
    assert file.name in text
    assert "run `hanlm corpus tokenize` again" in text
    assert words.startswith("hanlm: doctor found 1 fault ")


@pytest.mark.fault(19)
def test_an_id_beyond_the_vocabulary_is_found_by_reading_the_file(examine, tiny_tokens, tmp_path):
    import numpy as np

    from hanlm.files import sha256_of

    tokens = shutil.copytree(tiny_tokens, tmp_path / "tokens")
    file = sorted(tokens.glob("train-*.bin"))[0]
    ids = np.fromfile(file, dtype=np.uint16)
    ids[7] = 320
    ids.tofile(file)
    manifest = json.loads((tokens / "manifest.json").read_text())
    manifest["files"][file.name]["sha256"] = sha256_of(file)
    (tokens / "manifest.json").write_text(json.dumps(manifest))
    code, topics, _ = examine(tokens=tokens)
    assert code == 2
    assert "holds token ids from 1 to 320, expected 0 to 319" in topics["tokens"][0][1]


@pytest.mark.fault(20)
def test_tokens_of_another_tokenizer_are_a_fault_with_the_command_that_mends_it(examine, extended_model, tmp_path):
    model = shutil.copytree(extended_model, tmp_path / "model")
    parts = json.loads((model / "tokenizer.json").read_text())
    parts["normalizer"] = None
    (model / "tokenizer.json").write_text(json.dumps(parts))
    code, topics, _ = examine(model=model)
    assert code == 2
    [(level, text)] = topics["tokenizer"]
    assert level == "fault"
    assert f"run `hanlm corpus tokenize` with --tokenizer {model}" in text


def test_all_faults_are_told_at_once(examine, tiny_tokens, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    tokens = shutil.copytree(tiny_tokens, tmp_path / "tokens")
    sorted(tokens.glob("*.idx"))[0].unlink()
    code, topics, words = examine("--tensor-parallel", "3", tokens=tokens)
    assert code == 2
    assert topics["output"][0][0] == topics["model"][0][0] == topics["tokens"][0][0] == "fault"
    assert "does not divide the model's 4 attention heads" in topics["model"][0][1]
    assert "doctor found 3 faults" in words


def test_too_little_memory_and_too_little_disk_are_faults_with_numbers(examine, monkeypatch):
    monkeypatch.setattr(machine, "_available_bytes", lambda: 100_000)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    code, topics, _ = examine("--dry-run-steps", "1")
    assert code == 2
    assert topics["memory"][0][0] == topics["disk"][0][0] == "fault"
    assert "lower --micro-batch-size" in topics["memory"][0][1]
    assert "2 + 1 checkpoints" in topics["disk"][0][1]
    assert "dry run" not in topics


def test_slow_storage_is_a_warning_when_a_checkpoint_takes_too_much_of_the_time(examine, monkeypatch):
    monkeypatch.setattr(links, "_write_and_read", lambda file: (file.touch(), (10.0, 10.0))[1])
    code, topics, _ = examine()
    assert code == 0
    [(level, text)] = topics["files"]
    assert level == "warning"
    assert "raise --save-seconds" in text


def test_a_corpus_that_hardly_uses_the_new_tokens_is_a_warning(examine):
    code, topics, _ = examine("--mix", "zh=0.0,en=1.0")
    assert code == 0
    [(level, text)] = topics["new tokens"]
    assert level == "warning"
    assert "--mix" in text


def fact(**changes) -> Facts:
    values = {"rank": 0, "host": "a", "device": "cpu", "num_devices": 0, "local_rank": 0, "free_bytes": 10**12}
    return Facts(**(values | {"versions": {"torch": "2"}, "inputs": ("x",), "faults": ()} | changes))


@pytest.mark.parametrize(
    ("other", "level", "words"),
    [
        ({"versions": {"torch": "3"}}, "fault", "the processes run different ones: torch 2 and 3"),
        ({"inputs": ("y",)}, "fault", "1 on b reads other tokens than process 0 on a"),
        ({"faults": ("model: gone",)}, "fault", "1 on b: model: gone"),
        ({"device": "H100", "num_devices": 1}, "fault", "some see no GPU"),
        ({"device": "H100", "num_devices": 1, "local_rank": 1}, "fault", "start no more processes on a host"),
    ],
)
def test_processes_that_do_not_match_are_faults(other, level, words):
    report = Report()
    compare([fact(), fact(rank=1, host="b", **other)], report)
    assert any(f.level == level and words in f.text for f in report.findings), report.findings
    alike = Report()
    compare([fact(), fact(rank=1, host="b")], alike)
    assert not alike.count("fault")


@pytest.fixture
def under_torchrun(extended_model, tiny_tokens, tmp_path):
    """Return a function that runs doctor in two processes."""

    def run(*flags: str) -> "subprocess.CompletedProcess[str]":
        root = Path(__file__).parents[2]
        command = [sys.executable, "-W", "ignore", "-m", "hanlm.torchrun", "--standalone", "--nproc-per-node=2", "-m"]
        command += ["hanlm", "doctor", "--model", str(extended_model), "--tokens", str(tiny_tokens), "--out"]
        command += [str(tmp_path / "out"), "--seq-length", "32", "--global-batch-size", "4", "--steps", "4", *flags]
        return subprocess.run(
            command,
            cwd=root,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.mark.slow
def test_two_processes_compare_clocks_links_and_storage_and_run_dry_at_their_layout(under_torchrun, tmp_path):
    done = under_torchrun("--tensor-parallel", "2", "--sequence-parallel", "--dry-run-steps", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    for topic in ("clocks", "all-reduce", "files", "memory", "dry run", "versions"):
        assert f"ok      {topic}: " in done.stdout, done.stdout
    assert "GB/s sent by each of 2 processes" in done.stdout
    assert done.stdout.count("all-reduce") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_fault_of_two_processes_ends_both_with_one_sentence(under_torchrun, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    done = under_torchrun("--dry-run-steps", "2")
    assert done.returncode == 2, done.stderr[-3000:]
    assert "fault   output: " in done.stdout
    assert "dry run" not in done.stdout
    assert done.stderr.count("doctor found") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_outside_torchrun_the_dry_run_starts_the_processes_of_the_layout(examine):
    code, topics, words = examine("--pipeline-parallel", "2", "--dry-run-steps", "2")
    assert code == 0, words
    [(level, text)] = topics["dry run"]
    assert level == "ok"
    assert text.startswith("2 steps, last loss ")
