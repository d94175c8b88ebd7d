"""Model folders that ppl and bench must refuse: one sentence, exit code 2, and nothing of theirs runs."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from hanlm.cli import main


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (f"open({str(self.ran)!r}, 'w')",)


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(folder / "ran")))


def ask_for_code(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
        classes = {"AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.Tokenizer", None]}
        (folder / name).write_text(json.dumps(settings | {"auto_map": classes}), encoding="utf-8")

    return change


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def change_weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        weights = folder / "model.safetensors"
        save_file(change(load_file(weights)), weights, metadata={"format": "pt"})

    return changed


def cut_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "lla', encoding="utf-8")


NORM = "model.norm.weight"
DAMAGES = [
    pytest.param(pickle_weights, "as a pickle", marks=pytest.mark.fault(22), id="pickle"),
    pytest.param(ask_for_code("config.json"), "auto_map", marks=pytest.mark.fault(23), id="code"),
    pytest.param(ask_for_code("tokenizer_config.json"), "auto_map", marks=pytest.mark.fault(23), id="tokenizer code"),
    pytest.param(truncate, "model.safetensors", id="truncated"),
    pytest.param(change_weights(lambda w: {k: v for k, v in w.items() if k != NORM}), NORM, id="missing"),
    pytest.param(change_weights(lambda w: w | {NORM: w[NORM][:-1].clone()}), NORM, id="shape"),
    pytest.param(cut_config, "config.json is not valid JSON", id="config"),
]


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Score a model on one row that suits both commands: it is refused in the sentence returned."""

    def run(command: str, folder: Path, *options: str) -> str:
        data = tmp_path / "data.jsonl"
        row = {"text": "The river runs.", "prompt": "The river", "choices": [" runs.", " stops."], "label": 0}
        data.write_text(json.dumps(row) + "\n", encoding="utf-8")
        flag = {"ppl": "--data", "bench": "--task"}[command]
        with pytest.raises(SystemExit) as stopped:
            main([command, "--model", str(folder), flag, str(data), "--out", str(tmp_path / "out"), *options])
        said = capsys.readouterr().err
        assert stopped.value.code == 2, said
        assert said.splitlines()[-1].startswith("hanlm: ")
        assert "Traceback" not in said
        assert not (tmp_path / "out").exists()
        return said.splitlines()[-1]

    return run


@pytest.mark.parametrize("command", ["ppl", "bench"])
@pytest.mark.parametrize(("damage", "word"), DAMAGES)
def test_a_bad_model_is_refused_in_one_sentence(
    tiny_model_folder: Path,
    tmp_path: Path,
    refuse: Callable[..., str],
    command: str,
    damage: Callable[[Path], None],
    word: str,
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    damage(folder)
    assert word in refuse(command, folder)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("command", ["ppl", "bench"])
def test_a_gpu_that_is_not_there_is_refused_in_one_sentence(
    tiny_model_folder: Path, refuse: Callable[..., str], monkeypatch: pytest.MonkeyPatch, command: str
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "torch sees no GPU" in refuse(command, tiny_model_folder, "--device", "cuda")


@pytest.mark.fault(23)
def test_code_of_a_models_own_runs_only_where_it_is_trusted(
    tiny_model_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    ran = tmp_path / "ran"
    (folder / "mine.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n\n\n"
        "class MyConfig(LlamaConfig):\n    model_type = 'mine'\n\n\n"
        "class MyModel(LlamaForCausalLM):\n    config_class = MyConfig\n\n\n"
        f"open({str(ran)!r}, 'w').close()\n"
    )
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    classes = {"AutoConfig": "mine.MyConfig", "AutoModelForCausalLM": "mine.MyModel"}
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "mine", "auto_map": classes}))
    (tmp_path / "data.jsonl").write_text('{"text": "The river runs."}\n', encoding="utf-8")
    words = ["ppl", "--model", str(folder), "--data", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as refused:
        main(words)
    assert refused.value.code == 2
    assert "pass --trust-remote-code" in capsys.readouterr().err
    assert not ran.exists()
    with pytest.raises(SystemExit) as done:
        main([*words, "--trust-remote-code"])
    assert done.value.code == 0
    assert ran.exists()
