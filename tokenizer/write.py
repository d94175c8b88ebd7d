"""The tokenizer's files, and the model's card."""

import shutil
from pathlib import Path

from hanlm.model_folder import write_model_card
from tokenizer.base import Base
from tokenizer.fast import tokenizer_config
from tokenizer.forms import Forms
from tokenizer.json_file import write_json


def write_tokenizer(base: Base, forms: Forms, folder: Path) -> None:
    """Write the vocabulary's files, ``tokenizer_config.json`` and ``special_tokens_map.json``.

    A chat template is kept. ``added_tokens.json`` is not needed: ``tokenizer.json`` holds them all.
    """
    forms.write(folder)
    write_json(folder / "tokenizer_config.json", tokenizer_config(base))
    write_json(folder / "special_tokens_map.json", base.special_tokens)
    template = base.path / "chat_template.jinja"
    if template.is_file():
        shutil.copyfile(template, folder / template.name)


def write_card(base: Base, folder: Path, origin: str, num_new: int) -> None:
    """Write the model card; the new rows are untrained, and it says so."""
    write_model_card(
        folder,
        title=f"{base.path.name} with {num_new} Chinese tokens",
        base=base.path,
        body=(
            f"The vocabulary of `{base.path.name}` ({base.num_tokens} tokens) with {num_new} pieces {origin} "
            f"by HanLM's `extend-vocab`. The new rows are initialised, not trained: "
            "continue pretraining before use. `vocab_report.html` shows the pieces and what they save."
        ),
    )
