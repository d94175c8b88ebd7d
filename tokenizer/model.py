"""The base's weights with rows for the new tokens, shard by shard."""

import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hanlm.errors import InputError
from hanlm.model_folder import is_tied
from tokenizer.base import Base
from tokenizer.json_file import read_json, write_json
from tokenizer.rows import RowPlan, new_rows
from tokenizer.safetensor_files import FLOAT_BYTES, MoreRows, StoredRows, num_bytes, read_header, with_rows

EMBEDDINGS: Final = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight")
HEADS: Final = ("lm_head.weight", "embed_out.weight", "lm_head.bias")
"""Ends of the names that model families give their vocabulary matrices."""

INDEX: Final = "model.safetensors.index.json"

_OWN = (
    "README.md",
    "manifest.json",
    "vocab_report.json",
    "vocab_report.html",
    "quarantine.jsonl",
    "config.json",
    INDEX,
)
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
_NOT_COPIED = (
    ".safetensors",
    ".bin",
    ".bin.index.json",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".gguf",
    ".msgpack",
    ".h5",
    ".tiktoken",
)


def vocabulary_matrices(base: Base) -> dict[str, Path]:
    """Return the names of the vocabulary matrices and the files that hold them.

    Raises:
        InputError: If there are none, one is quantised, or one has another number of rows than the configuration.
    """
    assert base.config is not None
    found: dict[str, Path] = {}
    for path in sorted(base.path.glob("*.safetensors")):
        for name, entry in read_header(path)[0].items():
            if not name.endswith((*EMBEDDINGS, *HEADS)):
                continue
            if entry["dtype"] not in FLOAT_BYTES:
                raise InputError(
                    f"{path}: {name} is quantised ({entry['dtype']}); extend the original weights instead."
                )
            if entry["shape"][0] != base.config["vocab_size"]:
                raise InputError(
                    f"{path}: {name} has {entry['shape'][0]} rows but config.json says vocab_size "
                    f"{base.config['vocab_size']}; expected the same: restore the base from its source."
                )
            found[name] = path
    if not any(name.endswith(EMBEDDINGS) for name in found):
        raise InputError(f"{base.path} has no matrix named *.{EMBEDDINGS[0]}; expected a LLaMA-like model.")
    if not is_tied(base.config) and not any(name.endswith(HEADS) for name in found):
        raise InputError(f"{base.path} says its embeddings are not tied but holds no lm_head.weight; restore the base.")
    return found


def require_memory(base: Base, init: str) -> None:
    """Refuse a way of starting rows that loads the model where the machine cannot hold it.

    Raises:
        InputError: If the weights are larger than all of the machine's memory.
    """
    need = 0
    for path in base.path.glob("*.safetensors"):
        for name, entry in read_header(path)[0].items():
            if name != "__metadata__":
                need += 4 * math.prod(entry["shape"]) if init == "distilled" else num_bytes(entry)
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > have:
        raise InputError(
            f"--init {init} loads the model, which takes {need / 1e9:.1f} GB, but this machine has {have / 1e9:.1f} GB "
            "of memory; pass --init merge-tree, which streams the weights."
        )


def write_model(base: Base, folder: Path, plan: RowPlan, multiple: int, min_rows: int = 0) -> int:
    """Write weights, configuration and the base's other files; returns the padded vocabulary size.

    No matrix is ever whole in memory.

    Args:
        base: What is extended.
        folder: Where it goes.
        plan: How the new rows start.
        multiple: Of which the number of rows is one.
        min_rows: At least so many rows.
    """
    assert base.config is not None
    num_tokens = base.num_tokens + plan.num_new
    num_padded = -(-max(num_tokens, base.config["vocab_size"], min_rows) // multiple) * multiple
    write_weights(base, folder, range(base.num_tokens), lambda matrix: new_rows(matrix, plan, num_padded))
    write_json(folder / "config.json", base.config | {"vocab_size": num_padded})
    return num_padded


def write_weights(base: Base, folder: Path, kept: Sequence[int], more: Callable[[StoredRows], MoreRows]) -> None:
    """Write the base's weights and its other files, but for configuration and tokenizer.

    Args:
        base: Whose they are.
        folder: Where they go.
        kept: The rows of every vocabulary matrix that stay, in their order.
        more: Makes the rows that follow them.
    """
    matrices = vocabulary_matrices(base)
    for path in sorted(base.path.glob("*.safetensors")):
        changed = {name: more(StoredRows(path, name)) for name, file in matrices.items() if file == path}
        if changed:
            with_rows(path, folder / path.name, kept, changed)
        else:
            shutil.copyfile(path, folder / path.name)
    _copy_other_files(base, folder)
    _write_index(base, folder)


def _copy_other_files(base: Base, folder: Path) -> None:
    """Copy whatever belongs neither to the tokenizer nor to the weights."""
    for path in sorted(base.path.iterdir()):
        if path.is_file() and path.name not in (*_OWN, *_TOKENIZER) and not path.name.endswith(_NOT_COPIED):
            shutil.copyfile(path, folder / path.name)


def _write_index(base: Base, folder: Path) -> None:
    """Write the index of a sharded model with its new total size."""
    index = read_json(base.path, INDEX)
    if not index:
        return
    sizes, parameters = 0, 0
    for path in folder.glob("*.safetensors"):
        for name, entry in read_header(path)[0].items():
            if name != "__metadata__":
                sizes += num_bytes(entry)
                parameters += math.prod(entry["shape"])
    index["metadata"] = index.get("metadata", {}) | {"total_size": sizes}
    if "total_parameters" in index["metadata"]:
        index["metadata"]["total_parameters"] = parameters
    write_json(folder / INDEX, index)
