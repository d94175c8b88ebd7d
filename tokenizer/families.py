"""Read a base of whatever family, or say in one sentence why it cannot be extended."""

import json
from pathlib import Path
from typing import Any

from hanlm.artifact import verify_once
from hanlm.errors import InputError
from hanlm.model_folder import check_model_folder, read_config, read_object, refuse_tokenizer_code
from tokenizer.base import Base
from tokenizer.byte_read import byte_base_of_json, byte_base_of_ranks
from tokenizer.proto import parse_proto, read_proto
from tokenizer.rank_file import read_ranks
from tokenizer.spm import read_spm_base

SPM_NAMES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""LLaMA's and most others', T5's and XLNet's, XLM-R's."""


def read_base(path: Path, *, trust_remote_code: bool = False) -> Base:
    """Read a model folder, a tokenizer folder, or a bare ``tokenizer.model``, ``tokenizer.json`` or rank file.

    Raises:
        InputError: If there is none, if it is of a family that cannot be extended, or if its parts disagree.
        ArtifactError: If it is an artifact and damaged.
    """
    if path.is_file():
        return _read_file(path, path, None, None)
    if not path.is_dir():
        raise InputError(f"there is no base at {path}; pass a model folder, a tokenizer.model or a tokenizer.json.")
    verify_once(path)
    if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
        raise InputError(
            f"{path} is an adapter (adapter_config.json), not a model; expected a whole model: merge the adapter into "
            "its base first (hanlm sft writes the merged one to OUT/model)."
        )
    config = None
    if (path / "config.json").is_file():
        check_model_folder(path, trust_remote_code=trust_remote_code)
        config = read_config(path)
    elif not trust_remote_code:
        refuse_tokenizer_code(path)
    return _read_file(tokenizer_file(path), path, path, config)


def tokenizer_file(folder: Path) -> Path:
    """Return the file that says most about a folder's tokenizer.

    Raises:
        InputError: If there is none.
    """
    spm = [folder / name for name in SPM_NAMES if (folder / name).is_file()]
    ranks = sorted(folder.glob("*.tiktoken"))
    if spm and read_ranks(spm[0].read_bytes()) is not None:
        spm, ranks = [], [*ranks, spm[0]]  # Llama-3's rank file is called tokenizer.model too
    if spm:
        return spm[0]
    for name in ("tokenizer.json", "merges.txt"):
        if (folder / name).is_file():
            return folder / name
    if ranks:
        return ranks[0]
    raise InputError(
        f"{folder} holds no tokenizer (tokenizer.model, tokenizer.json, vocab.json with merges.txt, *.tiktoken); "
        "expected a model folder or a tokenizer folder: check the path."
    )


def _read_file(file: Path, path: Path, folder: Path | None, config: dict[str, Any] | None) -> Base:
    if (contents := read_fast(file)) is not None:
        return byte_base_of_json(path, contents, folder, config)
    content = file.read_bytes()
    if parse_proto(content) is None and (ranks := read_ranks(content)) is not None:
        return byte_base_of_ranks(path, ranks, folder, config)
    read_proto(file)
    return read_spm_base(file, folder, config)


def read_fast(file: Path) -> dict[str, Any] | None:
    """Return what a ``tokenizer.json`` holds, or transformers makes of ``merges.txt``; None of any other file.

    Raises:
        InputError: If a ``.json`` file is no tokenizer.
    """
    if file.name == "merges.txt":
        return _converted(file.parent)
    if file.suffix != ".json":
        return None
    contents = read_object(file)
    if not isinstance(contents.get("model"), dict):
        raise InputError(f"{file} is no tokenizer.json: it has no model; pass a model folder or a tokenizer file.")
    return contents


def _converted(folder: Path) -> dict[str, Any]:
    """Return what transformers makes of ``vocab.json`` and ``merges.txt``."""
    from hanlm.tokenizing import load_tokenizer

    tokenizer: Any = load_tokenizer(folder)
    return json.loads(tokenizer.backend_tokenizer.to_str())
