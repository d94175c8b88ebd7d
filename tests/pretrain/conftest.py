"""A tiny extended model and tokens of two languages, made without the other stages."""

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hanlm.publish import publish
from hanlm.tokenizing import tokenizer_hash
from hanlm.tokens import TokenWriter

NUM_BASE_TOKENS = 300
BOS, EOS = 1, 2


def write_tokens(out: Path, model: Path, *, num_documents: int = 60) -> Path:
    """Write documents of random words: each word is always followed by the same next one half of the time."""
    vocab_size = json.loads((model / "config.json").read_text())["vocab_size"]
    draw = random.Random(0)
    with publish(out, kind="tokens", config={}, tokenizer_hash=tokenizer_hash(model)) as draft:
        writer = TokenWriter(
            folder=draft.folder,
            vocab_size=vocab_size,
            bos_token_id=BOS,
            eos_token_id=EOS,
            tokenizer_hash=tokenizer_hash(model),
        )
        with writer:
            for i in range(num_documents):
                for lang, domain, low in (("zh", "news", NUM_BASE_TOKENS), ("zh", "review", 280), ("en", "docs", 10)):
                    length = draw.randint(5, 60)
                    ids = [BOS, *(draw.randrange(low, min(low + 40, vocab_size)) for _ in range(length)), EOS]
                    split = "valid" if i % 6 == 5 else "train"
                    names = {"id": f"{domain}-{i}", "domain": domain, "lang": lang, "split": split}
                    writer.add(ids, **names, num_bytes=3 * length, num_chars=length)
        draft.record(**writer.manifest_keys())
    return out


@pytest.fixture(scope="session")
def extended_model(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base, said to have been extended from 300 tokens."""
    folder = tmp_path_factory.mktemp("extended") / "model"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "vocab_report.json").write_text(json.dumps({"num_base_tokens": NUM_BASE_TOKENS}))
    return folder


@pytest.fixture(scope="session")
def tied_model(extended_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extended model with its embedding as output layer."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("tied") / "model"
    shutil.copytree(extended_model, folder)
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def tiny_tokens(extended_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two Chinese domains and an English one, train and valid."""
    return write_tokens(tmp_path_factory.mktemp("tokens") / "tokens", extended_model)


@pytest.fixture
def make_tokens():
    """Return a function that writes tokens for a model folder."""
    return write_tokens


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tiny matrices gain nothing from a second thread, and lose much where cores are shared."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def settings(extended_model: Path, tiny_tokens: Path, tmp_path: Path):
    """Return a function that makes the configuration of a small, fast run."""
    from pretrain.config import PretrainConfig

    def make(name: str = "out", **changes: object) -> PretrainConfig:
        defaults: dict[str, object] = {
            "model": extended_model,
            "tokens": (tiny_tokens,),
            "out": tmp_path / name,
            "seq_length": 32,
            "global_batch_size": 4,
            "micro_batch_size": 2,
            "precision": "fp32",
            "eval_tokens": 0,
            "log_every": 1,
        }
        if not changes.keys() & {"steps", "seconds", "phases"}:
            defaults["steps"] = 6
        return PretrainConfig(**(defaults | changes))  # pyright: ignore[reportArgumentType]

    return make


@pytest.fixture
def read_losses():
    """Return a function that gives the loss of every step in ``metrics.jsonl``; none may be listed twice."""

    def read(folder: Path) -> dict[int, float]:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
        assert len(losses) == len(dict(losses)) > 0
        return dict(losses)

    return read


@pytest.fixture
def read_weights():
    """Return a function that gives the tensors of a model folder."""
    from safetensors.torch import load_file

    return lambda folder: load_file(folder / "model.safetensors")


@pytest.fixture
def run_all(tmp_path: Path):
    """Return a function that trains configurations one after another in the processes of one torchrun."""

    def run(configs: list[object], *, processes: int) -> None:
        (tmp_path / "configs.pickle").write_bytes(pickle.dumps(configs))
        command = [sys.executable, "-W", "ignore", "-m", "hanlm.torchrun", "--standalone"]
        command += [f"--nproc-per-node={processes}", str(Path(__file__).with_name("run_all.py"))]
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [*command, str(tmp_path / "configs.pickle")],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
            cwd=root,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]

    return run


def _server(name: str, *modules: str):
    """Start a process whose forks train, with modules imported that they need."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name(name)), *modules]
    env = os.environ | {"PYTHONPATH": str(root), "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}  # CUDA starts in the forks
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        yield server
        server.stdin.close()


@pytest.fixture(scope="session")
def _kill_server():
    yield from _server("kill_server.py")


@pytest.fixture(scope="module")
def _kill_server_with_transformers():
    names = ("models.bloom.modeling_bloom", "models.gpt_neox.modeling_gpt_neox")
    yield from _server("kill_server.py", "accelerate", "peft", *(f"transformers.{name}" for name in names))


@pytest.fixture(scope="session")
def _process_server():
    yield from _server("process_server.py")


@pytest.fixture
def together(_process_server):
    """Return a function that trains with several processes and gives every one's exit code and last sentence.

    A hook (rank, function, call, signal) sends that process a signal right before that call; SIGXFSZ means that no
    file can grow beyond 20 kB from then on.
    """

    def train(config, processes: int, *hooks: tuple[int, str, int, int]) -> list[tuple[int, str]]:
        pickle.dump((config, processes, list(hooks)), _process_server.stdin)
        _process_server.stdin.flush()
        return pickle.load(_process_server.stdout)

    return train


@pytest.fixture
def kill(_kill_server):
    """Return a function that trains until a call of a function, and there comes SIGKILL."""

    def train(config, target: str = "pretrain.loop.Run._step", *, call: int, moment: str = "after") -> None:
        pickle.dump((config, target, call, moment), _kill_server.stdin)
        _kill_server.stdin.flush()
        assert int(_kill_server.stdout.readline()) == -signal.SIGKILL

    return train
