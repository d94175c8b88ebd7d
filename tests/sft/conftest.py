"""A tiny chat model trained once a session, and rows to train on."""

import json
import pickle
import resource
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sft.config import SftConfig


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they give on tensors this small, and wait for each other on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


ROWS: list[dict[str, Any]] = [
    {"instruction": "你好", "input": "", "output": "很好。"},
    {"instruction": "判断情感", "input": "太差了", "output": "差评！"},
    {
        "messages": [
            {"role": "user", "content": "一"},
            {"role": "assistant", "content": "二"},
            {"role": "user", "content": "三"},
            {"role": "assistant", "content": "四四"},
        ]
    },
]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def make_config(model: Path, data: Path, out: Path, **changes: Any) -> SftConfig:
    """A run that a CPU finishes in seconds, equal on every machine with the same number of threads."""
    settings: dict[str, Any] = {
        "model": model,
        "data": (data,),
        "out": out,
        "lr": 1e-2,
        "epochs": 4,
        "batch_size": 2,
        "max_length": 256,
        "valid_fraction": 0.0,
        "precision": "fp32",
        "device": "cpu",
        "log_steps": 1,
    }
    return SftConfig(**(settings | changes))


@pytest.fixture(scope="session")
def base_with_report(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base as if its vocabulary had been extended: it carries a report of that."""
    import torch

    from hanlm.models import load_model

    folder = tmp_path_factory.mktemp("extended") / "base"
    shutil.copytree(tiny_model_folder, folder)
    model: Any = load_model(folder)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # the frozen head of a random model is too faint to be sure of anything
    model.save_pretrained(str(folder))
    (folder / "vocab_report.json").write_text('{"num_base_tokens": 320}', encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# base\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rows of both formats."""
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", ROWS)


@pytest.fixture(scope="session")
def trained(base_with_report: Path, rows_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run that learned its three rows by heart."""
    from sft.train import sft

    out = tmp_path_factory.mktemp("trained") / "chat"
    config = make_config(base_with_report, rows_file, out, epochs=100, batch_size=4, log_steps=10)
    assert sft(config) == out
    return out


class Payload:
    """Makes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


UNSAFE = {
    "pickle": pytest.param("pickle", marks=pytest.mark.fault(22)),
    "model code": pytest.param("config.json", marks=pytest.mark.fault(23)),
    "tokenizer code": pytest.param("tokenizer_config.json", marks=pytest.mark.fault(23)),
}


@pytest.fixture(params=UNSAFE.values(), ids=UNSAFE.keys())
def unsafe_model(request: pytest.FixtureRequest, tiny_model_folder: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A model folder that would run code when loaded, and what the refusal names; afterwards nothing may have run."""
    folder, ran = tmp_path / "unsafe", tmp_path / "ran"
    shutil.copytree(tiny_model_folder, folder)
    if request.param == "pickle":
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(ran)))
    else:
        settings = json.loads((folder / request.param).read_text())
        settings["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"), "own.Own")
        (folder / request.param).write_text(json.dumps(settings))
        (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\n")
    yield folder, request.param
    assert not ran.exists()


OWN_CODE = {
    "own_model.py": """
from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
""",
    "own_tokenizer.py": """
from transformers import PreTrainedTokenizerFast


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
""",
}


@pytest.fixture
def model_with_code(tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny base as a model and a tokenizer of their own Python, which lies in the folder."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "with-code"
    shutil.copytree(tiny_model_folder, folder)
    code: dict[str, dict[str, Any]] = {
        "config.json": {
            "model_type": "own",
            "architectures": ["OwnModel"],
            "auto_map": {"AutoConfig": "own_model.OwnConfig", "AutoModelForCausalLM": "own_model.OwnModel"},
        },
        "tokenizer_config.json": {
            "tokenizer_class": "OwnTokenizer",
            "auto_map": {"AutoTokenizer": [None, "own_tokenizer.OwnTokenizer"]},
        },
    }
    for name, changes in code.items():
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(settings | changes), encoding="utf-8")
    for name, source in OWN_CODE.items():
        (folder / name).write_text(source, encoding="utf-8")
    return folder


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """``with full_disk(n):`` a file that grows beyond ``n`` bytes fails as on a full disk."""

    @contextmanager
    def limited(num_bytes: int) -> Iterator[None]:
        handlers = {s: signal.getsignal(s) for s in (signal.SIGXFSZ, signal.SIGTERM)}
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limit[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            for signum, handler in handlers.items():
                signal.signal(signum, handler)

    return limited


@pytest.fixture(scope="session")
def rows_writer() -> Any:
    """``write_rows(path, rows)``; test modules cannot import from a conftest."""
    return write_rows


@pytest.fixture(scope="session")
def config_maker() -> Any:
    """``make_config(model, data, out, **changes)``."""
    return make_config
