"""A base without the dropped tokens, written as a model (or tokenizer) folder: rows gathered bit for bit."""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tokenizer.base import Base
from tokenizer.config_ids import renumbered_config
from tokenizer.json_file import read_json, write_json
from tokenizer.model import write_weights
from tokenizer.renumber import new_ids
from tokenizer.safetensor_files import MoreRows
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
    write_weights(base, folder, list(new_id), lambda _: MoreRows())
    if (card := base.path / "README.md").is_file():  # names the licences that the result inherits
        shutil.copyfile(card, folder / card.name)
    generation = read_json(base.path, GENERATION)
    if generation:
        write_json(folder / GENERATION, renumbered_config(generation, new_id))
    assert smaller.config is not None
    write_json(folder / "config.json", smaller.config | {"vocab_size": smaller.num_tokens})
