"""A base without the dropped tokens, written as a model (or tokenizer) folder: rows gathered bit for bit."""

import json
import shutil
import struct
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from tokenizer.base import Base
from tokenizer.config_ids import renumbered_config
from tokenizer.json_file import read_json, write_json
from tokenizer.model import copy_other_files, vocabulary_matrices, write_index
from tokenizer.renumber import new_ids
from tokenizer.safetensor_files import copy_bytes, read_header
from tokenizer.write import write_tokenizer

GENERATION: Final = "generation_config.json"


def write_pruned(base: Base, dropped: Collection[int], folder: Path) -> None:
    """Write the base without some of its tokens.

    A row of a kept token has the bytes that it had, so logits of kept tokens are those of the base; padding rows go.
    """
    smaller = base.without(dropped)
    write_tokenizer(smaller, smaller.forms(), folder)
    if base.config is None:
        return
    new_id = new_ids(base.num_tokens, dropped)
    matrices = vocabulary_matrices(base)
    for path in sorted(base.path.glob("*.safetensors")):
        names = {name for name, file in matrices.items() if file == path}
        if names:
            with_kept_rows(path, folder / path.name, names, list(new_id))
        else:
            shutil.copyfile(path, folder / path.name)
    copy_other_files(base, folder)
    if (card := base.path / "README.md").is_file():  # names the licences that the result inherits
        shutil.copyfile(card, folder / card.name)
    generation = read_json(base.path, GENERATION)
    if generation:
        write_json(folder / GENERATION, renumbered_config(generation, new_id))
    assert smaller.config is not None
    write_json(folder / "config.json", smaller.config | {"vocab_size": smaller.num_tokens})
    write_index(base, folder)


def with_kept_rows(source: Path, target: Path, names: Collection[str], kept: Sequence[int]) -> None:
    """Copy a safetensors file; of the matrices named only the rows in ``kept``, in that order."""
    header, start = read_header(source)
    order = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"][0])
    new_header = {k: v for k, v in header.items() if k == "__metadata__"}
    offset = 0
    for name in order:
        entry = header[name]
        begin, end = entry["data_offsets"]
        shape = [len(kept), *entry["shape"][1:]] if name in names else entry["shape"]
        size = (end - begin) // entry["shape"][0] * len(kept) if name in names else end - begin
        new_header[name] = {"dtype": entry["dtype"], "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(new_header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as old, target.open("wb") as new:
        new.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            begin, end = header[name]["data_offsets"]
            if name not in names:
                old.seek(start + begin)
                copy_bytes(old, new, end - begin)
                continue
            row_bytes = (end - begin) // header[name]["shape"][0]
            for row in kept:
                old.seek(start + begin + row * row_bytes)
                new.write(old.read(row_bytes))
