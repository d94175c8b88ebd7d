"""Model folders on disk: refused when unsafe or incomplete, read, and completed with their tokenizer and card."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlm.artifact import verify_once
from hanlm.errors import InputError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.tiktoken",
    "chat_template.jinja",
    "vocab_report.json",
)
"""What travels with a model from stage to stage, byte for byte: transformers 5 drops some of these when it saves."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


_TRUST = "pass --trust-remote-code if you have read that code and trust it"


def check_model_folder(path: Path, *, trust_remote_code: bool = False, code_remedy: str = _TRUST) -> None:
    """Refuse a folder that is no model, is damaged, would run code from a pickle, or would run its own Python.

    Args:
        path: The folder.
        trust_remote_code: Whether it may run Python of its own.
        code_remedy: What to do about such Python, where the command has no flag of that name.

    Raises:
        InputError: One sentence with the remedy.
        ArtifactError: If it is an artifact and one of its files was changed.
    """
    config = read_config(path)
    verify_once(path)
    if not any(path.glob("*.safetensors")):
        pickles = sorted(p.name for p in path.iterdir() if p.suffix in _PICKLES)
        if pickles:
            raise InputError(
                f"{path} holds its weights as a pickle ({pickles[0]}), which can run any code when loaded; expected "
                "*.safetensors: convert it once on a machine you can lose, with transformers' save_pretrained."
            )
        raise InputError(f"{path} holds no weights: expected *.safetensors; pass a complete model folder.")
    if not trust_remote_code:
        _refuse_code(path, "config.json", config, code_remedy)
        refuse_tokenizer_code(path, code_remedy)
    _check_shards(path)


def refuse_tokenizer_code(path: Path, code_remedy: str = _TRUST) -> None:
    if (path / "tokenizer_config.json").is_file():
        _refuse_code(path, "tokenizer_config.json", read_object(path / "tokenizer_config.json"), code_remedy)


def _refuse_code(path: Path, name: str, settings: Mapping[str, Any], remedy: str) -> None:
    if "auto_map" in settings:
        raise InputError(f"{path / name} asks to run Python of its own (auto_map); {remedy}.")


def _check_shards(path: Path) -> None:
    """Read every shard's header, which tells its length: a cut download is found before anything is loaded."""
    from safetensors import SafetensorError, safe_open

    index = path / "model.safetensors.index.json"
    named = set(read_object(index).get("weight_map", {}).values()) if index.is_file() else set[str]()
    for shard in sorted({*named, *(p.name for p in path.glob("*.safetensors"))}):
        if not (path / shard).is_file():
            raise InputError(f"{path / shard} is missing, though {index.name} names it; restore it from its source.")
        try:
            with safe_open(path / shard, framework="numpy"):
                pass
        except SafetensorError as error:
            raise InputError(f"{path / shard} is truncated or damaged ({error}); restore it from its source.") from None


def read_config(path: Path) -> dict[str, Any]:
    """Return a model folder's ``config.json``.

    Raises:
        InputError: If the folder or the file is missing or malformed.
    """
    file = path / "config.json"
    if not path.is_dir():
        raise InputError(f"expected a model folder at {path}, but there is none; check the path.")
    if not file.is_file():
        raise InputError(f"{path} is no model folder: config.json is missing; {_hint(path)}")
    return read_object(file)


_TIED_BY_DEFAULT = (
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "opt",
    "bloom",
    "falcon",
    "mpt",
    "gemma",
    "gemma2",
    "gemma3_text",
    "starcoder2",
)
"""Model types whose configurations leave the key out although one matrix serves both ends."""


def is_tied(config: Mapping[str, Any]) -> bool:
    """Say whether a model's embedding is its output matrix too."""
    return bool(config.get("tie_word_embeddings", config.get("model_type") in _TIED_BY_DEFAULT))


def _hint(path: Path) -> str:
    if (path / "model" / "config.json").is_file():
        return f"did you mean {path / 'model'}?"
    if any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        return "it holds a tokenizer alone: pass a folder with weights."
    return "check the path."


def read_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON ({error}); restore it from its source.") from None
    if not isinstance(value, dict):
        raise InputError(f"{file} should hold a JSON object, got {type(value).__name__}; restore it from its source.")
    return value  # pyright: ignore[reportUnknownVariableType]


def num_base_tokens(path: Path) -> int | None:
    """Return how many tokens the vocabulary had before ``extend-vocab``, or None where it was never extended."""
    file = path / "vocab_report.json"
    if not file.is_file():
        return None
    num_tokens = read_object(file).get("num_base_tokens")
    if not isinstance(num_tokens, int):
        raise InputError(f"{file} should tell num_base_tokens, got {num_tokens!r}; run extend-vocab again.")
    return num_tokens


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy every tokenizer file that ``source`` has, byte for byte."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def write_model_card(folder: Path, *, title: str, base: Path, body: str, licences: Sequence[str] = ()) -> None:
    """Write the model card (README.md), inheriting the licence that the base's card names."""
    inherited = [line for line in _card_licences(base) if line not in licences]
    listed = "\n".join(f"- {name}" for name in [*licences, *inherited]) or "- not stated by the base or the data"
    text = f"# {title}\n\n{body.strip()}\n\n## Licences of the base and the data\n\n{listed}\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def _card_licences(base: Path) -> list[str]:
    try:
        lines = (base / "README.md").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return []
    named = [f"{base.name}: {line.split(':', 1)[1].strip()}" for line in lines if line.startswith("license:")]
    start = next((i for i, line in enumerate(lines) if line.startswith("## Licences")), len(lines))
    return named + [line[2:] for line in lines[start:] if line.startswith("- ")]
